// Command river is the measure of Muster's queue: the same jobs, worked by River.
//
// It reads one JSON request a line and answers each with one JSON line. "open" connects to an empty
// database and starts workers, "run" inserts many jobs and waits until all are stored as completed,
// "idle" inserts one job at a time and takes the time until its work begins, "insert" inserts single
// jobs at a steady rate and takes the time of each insertion.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const patience = 5 * time.Minute

type request struct {
	Do      string  `json:"do"`
	DSN     string  `json:"dsn"`
	Workers int     `json:"workers"`
	Jobs    int     `json:"jobs"`
	Batch   int     `json:"batch"`
	Times   int     `json:"times"`
	Rate    float64 `json:"rate"`
	Length  float64 `json:"length"`
}

type answer struct {
	Seconds []float64 `json:"seconds"`
}

// job does nothing, but for saying that it began.
type job struct {
	Number int `json:"number"`
}

func (job) Kind() string { return "job" }

type worker struct {
	river.WorkerDefaults[job]
	begun chan<- time.Time
}

func (w *worker) Work(_ context.Context, j *river.Job[job]) error {
	if j.Args.Number < 0 {
		w.begun <- time.Now()
	}
	return nil
}

type bench struct {
	pool      *pgxpool.Pool
	client    *river.Client[pgx.Tx]
	begun     chan time.Time
	completed <-chan *river.Event
}

func open(ctx context.Context, r request) (*bench, error) {
	pool, err := pgxpool.New(ctx, r.DSN)
	if err != nil {
		return nil, err
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	b := &bench{pool: pool, begun: make(chan time.Time, 1)}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{begun: b.begun})
	b.client, err = river.NewClient(driver, &river.Config{
		// The quickest that it allows, and as its own benchmark has it: workers without end.
		FetchCooldown:     river.FetchCooldownMin,
		FetchPollInterval: 20 * time.Millisecond,
		JobTimeout:        -1,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.Workers}},
		Workers:           workers,
	})
	if err != nil {
		return nil, err
	}
	b.completed, _ = b.client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 1_000_000,
		Kinds:    []river.EventKind{river.EventKindJobCompleted},
	})
	return b, b.client.Start(ctx)
}

// run returns the seconds from the first insertion until the last job is stored as completed.
func (b *bench) run(ctx context.Context, r request) (float64, error) {
	begun := time.Now()
	failed := make(chan error, 1)
	go func() {
		for first := 0; first < r.Jobs; first += r.Batch {
			batch := make([]river.InsertManyParams, min(r.Batch, r.Jobs-first))
			for i := range batch {
				batch[i].Args = job{Number: first + i}
			}
			if _, err := b.client.InsertManyFast(ctx, batch); err != nil {
				failed <- err
				return
			}
		}
	}()
	for range r.Jobs {
		select {
		case <-b.completed:
		case err := <-failed:
			return 0, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	seconds := time.Since(begun).Seconds()
	return seconds, b.settled(ctx)
}

// settled checks that nothing is left to do.
func (b *bench) settled(ctx context.Context) error {
	var open int
	const unfinished = `SELECT count(*) FROM river_job WHERE state <> 'completed'`
	if err := b.pool.QueryRow(ctx, unfinished).Scan(&open); err != nil {
		return err
	}
	if open != 0 {
		return fmt.Errorf("%d jobs are not completed", open)
	}
	return nil
}

func (b *bench) idle(ctx context.Context, times int) ([]float64, error) {
	found := make([]float64, 0, times)
	for range times {
		begun := time.Now()
		if _, err := b.client.Insert(ctx, job{Number: -1}, nil); err != nil {
			return nil, err
		}
		select {
		case at := <-b.begun:
			found = append(found, at.Sub(begun).Seconds())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		<-b.completed
	}
	return found, b.settled(ctx)
}

func (b *bench) insert(ctx context.Context, r request) ([]float64, error) {
	number := int(r.Rate * r.Length)
	found := make([]float64, number)
	failures := make(chan error, number)
	var all sync.WaitGroup
	begun := time.Now()
	for i := range number {
		time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / r.Rate * float64(time.Second)))))
		all.Go(func() {
			at := time.Now()
			if _, err := b.client.Insert(ctx, job{Number: i}, nil); err != nil {
				failures <- err
			}
			found[i] = time.Since(at).Seconds()
		})
	}
	all.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
	}
	for range number {
		<-b.completed
	}
	return found, b.settled(ctx)
}

func (b *bench) serve(ctx context.Context, r request) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch r.Do {
	case "run":
		seconds, err := b.run(ctx, r)
		return []float64{seconds}, err
	case "idle":
		return b.idle(ctx, r.Times)
	case "insert":
		return b.insert(ctx, r)
	}
	return nil, fmt.Errorf("cannot %q", r.Do)
}

func main() {
	ctx := context.Background()
	requests := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	var b *bench
	for requests.Scan() {
		var r request
		if err := json.Unmarshal(requests.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		var a answer
		var err error
		if r.Do == "open" {
			b, err = open(ctx, r)
		} else {
			a.Seconds, err = b.serve(ctx, r)
		}
		if err != nil {
			log.Fatalf("%s: %v", r.Do, err)
		}
		if err := answers.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
	if err := requests.Err(); err != nil {
		log.Fatal(err)
	}
	if b != nil {
		if err := b.client.Stop(ctx); err != nil {
			log.Fatal(err)
		}
	}
}
