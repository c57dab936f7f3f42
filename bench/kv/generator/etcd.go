package main

import (
	"context"
	"fmt"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd is a cluster of etcd; reads are linearizable, as by default.
type etcd struct {
	clients []*clientv3.Client
	next    atomic.Uint64
}

func openEtcd(c connection) (store, error) {
	opened := &etcd{}
	for range c.Connections {
		client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
		if err != nil {
			opened.close()
			return nil, err
		}
		opened.clients = append(opened.clients, client)
	}
	return opened, nil
}

func (e *etcd) client() *clientv3.Client {
	return e.clients[e.next.Add(1)%uint64(len(e.clients))]
}

func (e *etcd) write(ctx context.Context, at place, value []byte) error {
	_, err := e.client().Put(ctx, at.key, string(value))
	return err
}

func (e *etcd) read(ctx context.Context, at place) error {
	found, err := e.client().Get(ctx, at.key)
	if err == nil && len(found.Kvs) != 1 {
		err = fmt.Errorf("%s: not there", at.key)
	}
	return err
}

func (e *etcd) close() {
	for _, client := range e.clients {
		_ = client.Close()
	}
}
