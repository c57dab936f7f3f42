package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The parts of protos/kv.proto that are needed here, by their numbers.
const (
	requestTenant     = 1
	requestKey        = 2
	writeValue        = 3
	writeConsistency  = 4
	writeIdempotency  = 5
	readConsistency   = 3
	responseSuccess   = 1
	writeErrorMessage = 8
	readErrorMessage  = 5
	operationID       = 1
	operationWrite    = 2
	operationRead     = 3
	batchItems        = 1
	batchErrorMessage = 2
)

func text(b []byte, number protowire.Number, value string) []byte {
	if value == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), value)
}

func nested(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

func writeRequest(at place, value []byte, consistency, idempotency string) []byte {
	b := make([]byte, 0, len(value)+len(at.tenant)+len(at.key)+64)
	b = text(text(b, requestTenant, at.tenant), requestKey, at.key)
	b = nested(b, writeValue, value)
	return text(text(b, writeConsistency, consistency), writeIdempotency, idempotency)
}

func readRequest(at place, consistency string) []byte {
	b := text(text(nil, requestTenant, at.tenant), requestKey, at.key)
	return text(b, readConsistency, consistency)
}

// operation is one of a batch, with the id by which its outcome is told apart.
func operation(id uint64, kind protowire.Number, request []byte) []byte {
	b := make([]byte, 0, len(request)+16)
	b = protowire.AppendVarint(protowire.AppendTag(b, operationID, protowire.VarintType), id)
	return nested(b, kind, request)
}

// fields calls found with each field of a message: a number or the bytes of it.
func fields(b []byte, found func(number protowire.Number, varint uint64, bytes []byte)) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var varint uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		found(number, varint, bytes)
	}
	return nil
}

// succeeded tells what a response to a write or a read says, of which it is the error's number.
func succeeded(response []byte, errorMessage protowire.Number) error {
	success, message := false, "no success, and no error"
	err := fields(response, func(number protowire.Number, varint uint64, bytes []byte) {
		switch number {
		case responseSuccess:
			success = varint != 0
		case errorMessage:
			message = string(bytes)
		}
	})
	if err == nil && !success {
		err = fmt.Errorf("%s", message)
	}
	return err
}

// outcome is the id of one outcome of a batch, and what it says.
func outcome(b []byte) (uint64, error) {
	var id uint64
	var said error
	err := fields(b, func(number protowire.Number, varint uint64, bytes []byte) {
		switch number {
		case operationID:
			id = varint
		case operationWrite:
			said = succeeded(bytes, writeErrorMessage)
		case operationRead:
			said = succeeded(bytes, readErrorMessage)
		}
	})
	if err != nil {
		return id, err
	}
	return id, said
}
