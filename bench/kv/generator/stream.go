package main

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// Operations that go in one message at most.
	batched = 128
	// Operations that wait to be sent.
	queued = 4096
)

// stream sends operations over one call; what waits goes in one message.
type stream struct {
	cancel context.CancelFunc
	queue  chan []byte

	mutex   sync.Mutex
	nextID  uint64
	waiting map[uint64]chan error
	// Why it ended; nil while it lasts.
	ended error
}

func newStream(channel *grpc.ClientConn) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{cancel: cancel, queue: make(chan []byte, queued), waiting: map[uint64]chan error{}}
	go func() {
		description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
		call, err := channel.NewStream(ctx, description, service+"Stream", grpc.WaitForReady(true))
		if err != nil {
			s.fail(err)
			return
		}
		go func() { s.fail(s.send(ctx, call)) }()
		s.fail(s.receive(call))
	}()
	return s
}

// do sends one operation and waits for its outcome.
func (s *stream) do(ctx context.Context, kind protowire.Number, request []byte) error {
	done := make(chan error, 1)
	s.mutex.Lock()
	if s.ended != nil {
		defer s.mutex.Unlock()
		return s.ended
	}
	s.nextID++
	id := s.nextID
	s.waiting[id] = done
	s.mutex.Unlock()
	select {
	case s.queue <- operation(id, kind, request):
	case <-ctx.Done():
		s.forget(id)
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		s.forget(id)
		return ctx.Err()
	}
}

func (s *stream) send(ctx context.Context, call grpc.ClientStream) error {
	for {
		var message []byte
		select {
		case first := <-s.queue:
			message = nested(nil, batchItems, first)
		case <-ctx.Done():
			return ctx.Err()
		}
	more:
		for range batched - 1 {
			select {
			case other := <-s.queue:
				message = nested(message, batchItems, other)
			default:
				break more
			}
		}
		if err := call.SendMsg(&message); err != nil {
			return err
		}
	}
}

func (s *stream) receive(call grpc.ClientStream) error {
	for {
		var message []byte
		if err := call.RecvMsg(&message); err != nil {
			return err
		}
		var refused error
		err := fields(message, func(number protowire.Number, _ uint64, bytes []byte) {
			switch number {
			case batchItems:
				s.finish(outcome(bytes))
			case batchErrorMessage:
				refused = errors.New(string(bytes))
			}
		})
		if err := errors.Join(err, refused); err != nil {
			return err
		}
	}
}

func (s *stream) finish(id uint64, said error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if done, known := s.waiting[id]; known {
		delete(s.waiting, id)
		done <- said
	}
}

func (s *stream) forget(id uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.waiting, id)
}

func (s *stream) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.ended != nil {
		return
	}
	s.ended = err
	for id, done := range s.waiting {
		delete(s.waiting, id)
		done <- err
	}
}

func (s *stream) close() { s.cancel() }
