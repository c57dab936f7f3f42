package main

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// plan is what to do with a store.
type plan struct {
	// "read" or "write".
	Operation   string  `json:"operation"`
	Seconds     float64 `json:"seconds"`
	Concurrency int     `json:"concurrency"`
	// Operations a second; 0 for as many as the store can do.
	Rate       float64 `json:"rate"`
	Keys       int     `json:"keys"`
	ValueBytes int     `json:"value_bytes"`
	Tenants    int     `json:"tenants"`
	// Exponent of Zipf's law for keys and tenants, above 1; 0 for all alike.
	Zipf float64 `json:"zipf"`
}

// result is what was measured; times of operations that succeeded, in milliseconds.
type result struct {
	Operations int     `json:"operations"`
	Failures   int     `json:"failures"`
	FirstError string  `json:"first_error"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	ClientCPU  float64 `json:"client_cpu_seconds"`
}

// worker does one operation after the other.
type worker struct {
	store    store
	write    bool
	value    []byte
	times    []time.Duration
	failures int
	failed   error
}

// do makes one operation; its time counts from `from`, when it should have begun.
func (w *worker) do(ctx context.Context, at place, from time.Time) {
	err := attempt(ctx, func(ctx context.Context) error {
		if w.write {
			return w.store.write(ctx, at, w.value)
		}
		return w.store.read(ctx, at)
	})
	if err != nil {
		w.failures++
		w.failed = err
		return
	}
	w.times = append(w.times, time.Since(from))
}

// fill writes each key once.
func fill(ctx context.Context, s store, p plan) (result, error) {
	var next atomic.Int64
	p.Operation = "write"
	return together(s, p, func(w *worker, _ *rand.Rand) {
		for {
			number := int(next.Add(1)) - 1
			if number >= p.Keys {
				return
			}
			w.do(ctx, place{tenant(0), key(number)}, time.Now())
		}
	})
}

// run reads or writes for a time. With a rate, operation n is due n/rate seconds after the
// beginning, and its time counts from there, so that a store that falls behind can't hide it.
func run(ctx context.Context, s store, p plan) (result, error) {
	if p.Operation != "read" && p.Operation != "write" {
		return result{}, fmt.Errorf("operation: got %q; allowed: read, write", p.Operation)
	}
	var begun atomic.Int64
	start := time.Now()
	end := start.Add(time.Duration(p.Seconds * float64(time.Second)))
	return together(s, p, func(w *worker, random *rand.Rand) {
		places := newPlaces(p, random)
		for {
			due := time.Now()
			if p.Rate > 0 {
				after := float64(begun.Add(1)-1) / p.Rate
				due = start.Add(time.Duration(after * float64(time.Second)))
				if due.Before(end) {
					time.Sleep(time.Until(due))
				}
			}
			if !due.Before(end) || !time.Now().Before(end) {
				return
			}
			w.do(ctx, places.next(), due)
		}
	})
}

// together runs as many workers as the plan wants, and joins what they saw.
func together(s store, p plan, work func(*worker, *rand.Rand)) (result, error) {
	if p.Concurrency < 1 || p.Keys < 1 || p.Tenants < 1 {
		return result{}, fmt.Errorf("concurrency, keys and tenants must be at least 1: %+v", p)
	}
	workers := make([]*worker, p.Concurrency)
	cpu, start := cpuSeconds(), time.Now()
	var waiting sync.WaitGroup
	for number := range workers {
		// The same for every store.
		random := rand.New(rand.NewSource(int64(number)))
		w := &worker{store: s, write: p.Operation == "write", value: make([]byte, p.ValueBytes)}
		random.Read(w.value)
		workers[number] = w
		waiting.Go(func() { work(w, random) })
	}
	waiting.Wait()
	found := result{Seconds: time.Since(start).Seconds(), ClientCPU: cpuSeconds() - cpu}
	var times []time.Duration
	for _, w := range workers {
		times = append(times, w.times...)
		found.Failures += w.failures
		if w.failed != nil {
			found.FirstError = w.failed.Error()
		}
	}
	if len(times) == 0 {
		return result{}, fmt.Errorf("no %s succeeded: %s", p.Operation, found.FirstError)
	}
	slices.Sort(times)
	part := func(share float64) float64 {
		at := min(len(times)-1, int(share*float64(len(times))))
		return float64(times[at]) / float64(time.Millisecond)
	}
	found.Operations = len(times)
	found.P50, found.P95, found.P99, found.Max = part(0.5), part(0.95), part(0.99), part(1)
	return found, nil
}

// places chooses where the next operation goes.
type places struct {
	key    func() int
	tenant func() int
}

func newPlaces(p plan, random *rand.Rand) places {
	choose := func(among int) func() int {
		if p.Zipf == 0 {
			return func() int { return random.Intn(among) }
		}
		zipf := rand.NewZipf(random, p.Zipf, 1, uint64(among-1))
		return func() int { return int(zipf.Uint64()) }
	}
	return places{choose(p.Keys), choose(p.Tenants)}
}

func (p places) next() place { return place{tenant(p.tenant()), key(p.key())} }

func key(number int) string { return fmt.Sprintf("key-%08d", number) }

func tenant(number int) string { return fmt.Sprintf("tenant-%04d", number) }

// cpuSeconds is what this process has used so far, user and system.
func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
