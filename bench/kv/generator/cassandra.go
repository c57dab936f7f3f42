package main

import (
	"context"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

const (
	keyspace = `CREATE KEYSPACE IF NOT EXISTS bench WITH replication = ` +
		`{'class': 'SimpleStrategy', 'replication_factor': 3}`
	table = `CREATE TABLE IF NOT EXISTS bench.kv (key text PRIMARY KEY, value blob)`
)

// cassandra is a cluster of Cassandra; requests go to a replica of their key, with its QUORUM.
type cassandra struct {
	session *gocql.Session
}

func openCassandra(ctx context.Context, c connection) (store, error) {
	cluster := gocql.NewCluster(c.Endpoints...)
	cluster.Consistency = gocql.Quorum
	cluster.NumConns = c.Connections
	cluster.Timeout = operationDeadline
	cluster.ConnectTimeout = operationDeadline
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	cluster.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: 0}
	session, err := cluster.CreateSession()
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{keyspace, table} {
		if err := session.Query(statement).ExecContext(ctx); err != nil {
			session.Close()
			return nil, err
		}
	}
	opened := &cassandra{session}
	// Until all three take part: a write to ALL.
	for {
		err := session.Query(`INSERT INTO bench.kv (key, value) VALUES (?, ?)`, "first", []byte("value")).
			Consistency(gocql.All).ExecContext(ctx)
		if err == nil {
			return opened, nil
		}
		select {
		case <-ctx.Done():
			session.Close()
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *cassandra) write(ctx context.Context, at place, value []byte) error {
	return c.session.Query(`INSERT INTO bench.kv (key, value) VALUES (?, ?)`, at.key, value).
		ExecContext(ctx)
}

func (c *cassandra) read(ctx context.Context, at place) error {
	var value []byte
	return c.session.Query(`SELECT value FROM bench.kv WHERE key = ?`, at.key).
		ScanContext(ctx, &value)
}

func (c *cassandra) close() { c.session.Close() }
