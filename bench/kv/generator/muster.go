package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const service = "/proto.CoordinatorService/"

// bytesCodec hands messages over as the bytes that they are.
type bytesCodec struct{}

func (bytesCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (bytesCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = data
	return nil
}

func (bytesCodec) Name() string { return "proto" }

// muster is a KVCluster, through its coordinators.
type muster struct {
	connection
	channels []*grpc.ClientConn
	streams  []*stream
	next     atomic.Uint64
	// Tells the writes of this process from those of others, for idempotency keys.
	epoch int64
}

func openMuster(c connection) (store, error) {
	opened := &muster{connection: c, epoch: time.Now().UnixNano()}
	transport := insecure.NewCredentials()
	if c.CAFile != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(c.CAFile, ""); err != nil {
			return nil, err
		}
	}
	for range c.Connections {
		for _, endpoint := range c.Endpoints {
			channel, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(transport),
				grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
			if err != nil {
				opened.close()
				return nil, err
			}
			opened.channels = append(opened.channels, channel)
			if c.Stream {
				opened.streams = append(opened.streams, newStream(channel))
			}
		}
	}
	return opened, nil
}

func (m *muster) write(ctx context.Context, at place, value []byte) error {
	number := m.next.Add(1)
	once := ""
	if m.Idempotency {
		once = fmt.Sprintf("%x-%s", m.epoch, strconv.FormatUint(number, 36))
	}
	request := writeRequest(at, value, m.Consistency, once)
	if m.Stream {
		return m.streams[number%uint64(len(m.streams))].do(ctx, operationWrite, request)
	}
	response, err := m.call(ctx, number, "WriteKeyValue", request)
	if err != nil {
		return err
	}
	return succeeded(response, writeErrorMessage)
}

func (m *muster) read(ctx context.Context, at place) error {
	number := m.next.Add(1)
	request := readRequest(at, m.Consistency)
	if m.Stream {
		return m.streams[number%uint64(len(m.streams))].do(ctx, operationRead, request)
	}
	response, err := m.call(ctx, number, "ReadKeyValue", request)
	if err != nil {
		return err
	}
	return succeeded(response, readErrorMessage)
}

func (m *muster) call(ctx context.Context, number uint64, method string, request []byte) ([]byte, error) {
	var response []byte
	channel := m.channels[number%uint64(len(m.channels))]
	err := channel.Invoke(ctx, service+method, &request, &response)
	return response, err
}

func (m *muster) close() {
	for _, one := range m.streams {
		one.close()
	}
	for _, channel := range m.channels {
		_ = channel.Close()
	}
}
