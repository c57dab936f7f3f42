package main

import (
	"fmt"

	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/math/bits"
)

const operandBits = 128

// merkle says: a known leaf is in the tree with this root.
type merkle struct {
	Root     frontend.Variable `gnark:",public"`
	Leaf     frontend.Variable
	Index    frontend.Variable
	Siblings []frontend.Variable

	hash *poseidon
}

func (c *merkle) Define(api frontend.API) error {
	node := c.hash.hash(api, leafDomain, c.Leaf, 0)
	turns := bits.ToBinary(api, c.Index, bits.WithNbDigits(len(c.Siblings)))
	for i, sibling := range c.Siblings {
		shift := api.Mul(api.Sub(sibling, node), turns[i])
		node = c.hash.hash(api, nodeDomain, api.Add(node, shift), api.Sub(sibling, shift))
	}
	api.AssertIsEqual(node, c.Root)
	return nil
}

// ranged says: a committed value lies between two bounds.
type ranged struct {
	Commitment frontend.Variable `gnark:",public"`
	Min        frontend.Variable `gnark:",public"`
	Max        frontend.Variable `gnark:",public"`
	Value      frontend.Variable
	Blinding   frontend.Variable

	bits int
	hash *poseidon
}

func (c *ranged) Define(api frontend.API) error {
	parts := []frontend.Variable{c.Min, c.Max, api.Sub(c.Value, c.Min), api.Sub(c.Max, c.Value)}
	for _, part := range parts {
		bits.ToBinary(api, part, bits.WithNbDigits(c.bits))
	}
	api.AssertIsEqual(c.hash.hash(api, commitmentDomain, c.Value, c.Blinding), c.Commitment)
	return nil
}

// addition says: two committed values add up to a sum.
type addition struct {
	Commitments [2]frontend.Variable `gnark:",public"`
	Sum         frontend.Variable    `gnark:",public"`
	Operands    [2]frontend.Variable
	Blindings   [2]frontend.Variable

	hash *poseidon
}

func (c *addition) Define(api frontend.API) error {
	for i, operand := range c.Operands {
		bits.ToBinary(api, operand, bits.WithNbDigits(operandBits))
		commitment := c.hash.hash(api, commitmentDomain, operand, c.Blindings[i])
		api.AssertIsEqual(commitment, c.Commitments[i])
	}
	api.AssertIsEqual(api.Add(c.Operands[0], c.Operands[1]), c.Sum)
	return nil
}

// blank returns the circuit of a name and size without values.
func blank(name string, size int, hash *poseidon) (frontend.Circuit, error) {
	switch name {
	case "merkle":
		return &merkle{Siblings: make([]frontend.Variable, size), hash: hash}, nil
	case "range":
		return &ranged{bits: size, hash: hash}, nil
	case "addition":
		return &addition{hash: hash}, nil
	}
	return nil, fmt.Errorf("unknown circuit %q", name)
}

// filled returns the circuit with the values that Muster's prover takes and the public signals
// that it returned for them.
func filled(name string, inputs, public []string) (frontend.Circuit, error) {
	values := make([]frontend.Variable, len(inputs))
	for i, input := range inputs {
		values[i] = input
	}
	switch name {
	case "merkle":
		return &merkle{Root: public[0], Leaf: values[0], Index: values[1], Siblings: values[2:]}, nil
	case "range":
		return &ranged{
			Commitment: public[0], Min: public[1], Max: public[2], Value: values[0], Blinding: values[3],
		}, nil
	case "addition":
		return &addition{
			Commitments: [2]frontend.Variable{public[0], public[1]},
			Sum:         public[2],
			Operands:    [2]frontend.Variable{values[0], values[1]},
			Blindings:   [2]frontend.Variable{values[2], values[3]},
		}, nil
	}
	return nil, fmt.Errorf("unknown circuit %q", name)
}
