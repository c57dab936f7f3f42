// Command generator loads one store: Muster, etcd or Cassandra, with the same keys, values and
// concurrency.
//
// It reads one JSON request a line and answers each with one JSON line. "open" connects to a store
// and waits until it takes writes, "fill" writes every key once, "run" reads or writes for a time.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"
)

const (
	// Of one operation; a store that needs longer has failed it.
	operationDeadline = 10 * time.Second
	// Until a store that was just started has to take writes.
	openDeadline = 60 * time.Second
)

type request struct {
	Do string `json:"do"`
	connection
	plan
}

// connection says which store to load, and how.
type connection struct {
	Store     string   `json:"store"`
	Endpoints []string `json:"endpoints"`
	// Connections to each endpoint.
	Connections int `json:"connections"`
	// PEM file of the authority that the store's certificate has to be of; none without TLS.
	CAFile string `json:"ca_file"`
	// Of Muster: one, quorum, all; an idempotency key with each write; a stream, not single calls.
	Consistency string `json:"consistency"`
	Idempotency bool   `json:"idempotency"`
	Stream      bool   `json:"stream"`
}

// place is where a value lies; stores without tenants leave them out.
type place struct {
	tenant string
	key    string
}

// store is one system under load. Its methods are called by many goroutines at once.
type store interface {
	write(ctx context.Context, at place, value []byte) error
	read(ctx context.Context, at place) error
	close()
}

func open(ctx context.Context, c connection) (store, error) {
	ctx, cancel := context.WithTimeout(ctx, openDeadline)
	defer cancel()
	var opened store
	var err error
	switch c.Store {
	case "muster":
		opened, err = openMuster(c)
	case "etcd":
		opened, err = openEtcd(c)
	case "cassandra":
		opened, err = openCassandra(ctx, c)
	default:
		err = fmt.Errorf("store: got %q; allowed: muster, etcd, cassandra", c.Store)
	}
	if err != nil {
		return nil, err
	}
	return opened, serving(ctx, opened)
}

// serving waits until a write succeeds.
func serving(ctx context.Context, s store) error {
	for {
		err := attempt(ctx, func(ctx context.Context) error {
			return s.write(ctx, place{tenant: tenant(0), key: "first"}, []byte("value"))
		})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it takes no writes: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func attempt(ctx context.Context, operation func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationDeadline)
	defer cancel()
	return operation(ctx)
}

func answer(ctx context.Context, opened *store, r request) (any, error) {
	if r.Do == "open" {
		var err error
		*opened, err = open(ctx, r.connection)
		return struct{}{}, err
	}
	if *opened == nil {
		return nil, fmt.Errorf("%q before open", r.Do)
	}
	switch r.Do {
	case "fill":
		return fill(ctx, *opened, r.plan)
	case "run":
		return run(ctx, *opened, r.plan)
	}
	return nil, fmt.Errorf("do: got %q; allowed: open, fill, run", r.Do)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("generator: ")
	var opened store
	requests, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for requests.Scan() {
		var r request
		if err := json.Unmarshal(requests.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		found, err := answer(context.Background(), &opened, r)
		if err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(found); err != nil {
			log.Fatal(err)
		}
	}
	if err := requests.Err(); err != nil {
		log.Fatal(err)
	}
	if opened != nil {
		opened.close()
	}
}
