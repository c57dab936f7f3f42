// Command gnark is the measure of Muster's prover: the same circuits, proved by gnark.
//
// It reads one JSON request a line and answers each with one JSON line. "load" makes keys for a
// circuit and checks that it holds for values of Muster's; "prove" and "verify" do so many times
// and answer with the CPU seconds of this process for one.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"syscall"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
)

type request struct {
	Do     string   `json:"do"`
	ID     string   `json:"id"`
	Curve  string   `json:"curve"`
	Name   string   `json:"name"`
	Size   int      `json:"size"`
	Inputs []string `json:"inputs"`
	Public []string `json:"public"`
	Times  int      `json:"times"`
}

type answer struct {
	Constraints int     `json:"constraints,omitempty"`
	CPU         float64 `json:"cpu_seconds,omitempty"`
}

// loaded is a circuit with keys, a witness and a proof.
type loaded struct {
	system    constraint.ConstraintSystem
	proving   groth16.ProvingKey
	verifying groth16.VerifyingKey
	full      witness.Witness
	public    witness.Witness
	proof     groth16.Proof
}

var curves = map[string]ecc.ID{"bn254": ecc.BN254, "bls12-381": ecc.BLS12_381}

func load(r request) (*loaded, error) {
	curve, known := curves[r.Curve]
	if !known {
		return nil, fmt.Errorf("unknown curve %q", r.Curve)
	}
	field := curve.ScalarField()
	circuit, err := blank(r.Name, r.Size, newPoseidon(field))
	if err != nil {
		return nil, err
	}
	l := new(loaded)
	if l.system, err = frontend.Compile(field, r1cs.NewBuilder, circuit); err != nil {
		return nil, err
	}
	if l.proving, l.verifying, err = groth16.Setup(l.system); err != nil {
		return nil, err
	}
	assignment, err := filled(r.Name, r.Inputs, r.Public)
	if err != nil {
		return nil, err
	}
	if l.full, err = frontend.NewWitness(assignment, field); err != nil {
		return nil, err
	}
	if l.public, err = l.full.Public(); err != nil {
		return nil, err
	}
	if l.proof, err = groth16.Prove(l.system, l.proving, l.full); err != nil {
		return nil, err
	}
	return l, groth16.Verify(l.proof, l.verifying, l.public)
}

func cpuSeconds() (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime), nil
}

// each runs work many times and returns the CPU seconds of one.
func each(times int, work func() error) (float64, error) {
	before, err := cpuSeconds()
	if err != nil {
		return 0, err
	}
	for range times {
		if err := work(); err != nil {
			return 0, err
		}
	}
	after, err := cpuSeconds()
	return (after - before) / float64(times), err
}

func serve(r request, circuits map[string]*loaded) (answer, error) {
	if r.Do == "load" {
		l, err := load(r)
		if err != nil {
			return answer{}, err
		}
		circuits[r.ID] = l
		return answer{Constraints: l.system.GetNbConstraints()}, nil
	}
	l, known := circuits[r.ID]
	if !known {
		return answer{}, fmt.Errorf("%q is not loaded", r.ID)
	}
	var work func() error
	switch r.Do {
	case "prove":
		work = func() (err error) {
			l.proof, err = groth16.Prove(l.system, l.proving, l.full)
			return err
		}
	case "verify":
		work = func() error { return groth16.Verify(l.proof, l.verifying, l.public) }
	default:
		return answer{}, fmt.Errorf("cannot %q", r.Do)
	}
	seconds, err := each(r.Times, work)
	return answer{CPU: seconds}, err
}

func main() {
	logger.Disable()
	circuits := map[string]*loaded{}
	requests := bufio.NewScanner(os.Stdin)
	requests.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for requests.Scan() {
		var r request
		if err := json.Unmarshal(requests.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		a, err := serve(r, circuits)
		if err != nil {
			log.Fatalf("%s %s: %v", r.Do, r.ID, err)
		}
		if err := answers.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
	if err := requests.Err(); err != nil {
		log.Fatal(err)
	}
}
