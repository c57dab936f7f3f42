// Reads a JSON list of {curve, blocks} from standard input, writes the list of gnark-crypto's MiMC
// digests. Numbers are decimal strings.
package main

import (
	"encoding/json"
	"hash"
	"log"
	"math/big"
	"os"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381/fr/mimc"
	bn254 "github.com/consensys/gnark-crypto/ecc/bn254/fr/mimc"
)

type request struct {
	Curve  string   `json:"curve"`
	Blocks []string `json:"blocks"`
}

func digest(one request) string {
	var mimc hash.Hash
	switch one.Curve {
	case "bn254":
		mimc = bn254.NewMiMC()
	case "bls12-381":
		mimc = bls12381.NewMiMC()
	default:
		log.Fatalf("unknown curve %q", one.Curve)
	}
	for _, text := range one.Blocks {
		number, ok := new(big.Int).SetString(text, 10)
		if !ok {
			log.Fatalf("%q is no number", text)
		}
		if _, err := mimc.Write(number.FillBytes(make([]byte, mimc.BlockSize()))); err != nil {
			log.Fatal(err)
		}
	}
	return new(big.Int).SetBytes(mimc.Sum(nil)).String()
}

func main() {
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		log.Fatal(err)
	}
	digests := make([]string, 0, len(requests))
	for _, one := range requests {
		digests = append(digests, digest(one))
	}
	if err := json.NewEncoder(os.Stdout).Encode(digests); err != nil {
		log.Fatal(err)
	}
}
