package main

import (
	"math/big"

	"github.com/consensys/gnark/frontend"
)

const (
	fullRounds    = 8
	partialRounds = 57
	rounds        = fullRounds + partialRounds
)

// The domains of the hash: initial values of the state's first word.
const (
	nodeDomain       = 0
	leafDomain       = 1
	commitmentDomain = 2
)

// poseidon holds the constants of Poseidon with x^5 and width 3 over one field.
type poseidon struct {
	round [rounds][3]*big.Int
	mds   [3][3]*big.Int
}

// newPoseidon derives the constants as the Poseidon paper does, from a Grain LFSR.
func newPoseidon(modulus *big.Int) *poseidon {
	source := newGrain(modulus)
	constants := new(poseidon)
	for r := range constants.round {
		for i := range constants.round[r] {
			constants.round[r][i] = source.element()
		}
	}
	var xs, ys [3]*big.Int
	for i := range xs {
		xs[i] = source.reduced()
	}
	for i := range ys {
		ys[i] = source.reduced()
	}
	for i := range xs {
		for j := range ys {
			sum := new(big.Int).Add(xs[i], ys[j])
			constants.mds[i][j] = sum.ModInverse(sum, modulus)
		}
	}
	return constants
}

// hash constrains the hash of two values in a domain.
func (p *poseidon) hash(api frontend.API, domain int, left, right frontend.Variable) frontend.Variable {
	state := [3]frontend.Variable{domain, left, right}
	for r := range p.round {
		for i := range state {
			state[i] = api.Add(state[i], p.round[r][i])
		}
		boxes := 1
		if r < fullRounds/2 || r >= fullRounds/2+partialRounds {
			boxes = 3
		}
		for i := range boxes {
			square := api.Mul(state[i], state[i])
			fourth := api.Mul(square, square)
			state[i] = api.Mul(fourth, state[i])
		}
		var mixed [3]frontend.Variable
		for i := range mixed {
			mixed[i] = api.Add(
				api.Mul(state[0], p.mds[i][0]),
				api.Mul(state[1], p.mds[i][1]),
				api.Mul(state[2], p.mds[i][2]),
			)
		}
		state = mixed
	}
	return state[0]
}

// grain is the self-shrinking generator that the constants come from.
type grain struct {
	modulus *big.Int
	state   [80]byte
	head    int
}

func newGrain(modulus *big.Int) *grain {
	g := &grain{modulus: modulus}
	at := 0
	put := func(value, bits int) {
		for i := bits - 1; i >= 0; i-- {
			g.state[at] = byte(value >> i & 1)
			at++
		}
	}
	put(1, 2) // a prime field
	put(0, 4) // the S-box is a power
	put(modulus.BitLen(), 12)
	put(3, 12) // the width
	put(fullRounds, 10)
	put(partialRounds, 10)
	put(1<<30-1, 30)
	for range 160 {
		g.step()
	}
	return g
}

func (g *grain) step() byte {
	tap := func(i int) byte { return g.state[(g.head+i)%len(g.state)] }
	bit := tap(62) ^ tap(51) ^ tap(38) ^ tap(23) ^ tap(13) ^ tap(0)
	g.state[g.head] = bit
	g.head = (g.head + 1) % len(g.state)
	return bit
}

// bits draws as many bits as the modulus has: of every pair, the second if the first is one.
func (g *grain) bits() *big.Int {
	value := new(big.Int)
	for range g.modulus.BitLen() {
		for g.step() == 0 {
			g.step()
		}
		value.Lsh(value, 1)
		value.Or(value, big.NewInt(int64(g.step())))
	}
	return value
}

// element draws until a number is below the modulus.
func (g *grain) element() *big.Int {
	for {
		if value := g.bits(); value.Cmp(g.modulus) < 0 {
			return value
		}
	}
}

// reduced draws one number modulo the modulus.
func (g *grain) reduced() *big.Int {
	value := g.bits()
	return value.Mod(value, g.modulus)
}
