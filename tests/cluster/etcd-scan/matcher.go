package main

import (
	"bytes"
	"encoding/binary"
)

// The least length of a pattern: so many bytes at a time are looked up.
const shortest = 8

// A matcher finds many patterns in one pass: each place's next eight bytes are looked up among the patterns'
// first eight. A table of one bit for each hash keeps most places from the map.
type matcher struct {
	patterns [][]byte
	starts   map[uint64][]int
	maybe    [1 << 16]bool
}

func newMatcher(patterns [][]byte) *matcher {
	m := &matcher{patterns: patterns, starts: map[uint64][]int{}}
	for number, pattern := range patterns {
		start := binary.LittleEndian.Uint64(pattern)
		m.starts[start] = append(m.starts[start], number)
		m.maybe[slot(start)] = true
	}
	return m
}

// slot spreads the bytes over the table (Fibonacci hashing).
func slot(start uint64) uint64 {
	return start * 0x9e3779b97f4a7c15 >> 48
}

// count says how often each pattern occurs; patterns that do not occur are left out.
func (m *matcher) count(text []byte) map[int]int {
	found := map[int]int{}
	for at := 0; at+shortest <= len(text); at++ {
		start := binary.LittleEndian.Uint64(text[at:])
		if !m.maybe[slot(start)] {
			continue
		}
		for _, number := range m.starts[start] {
			if bytes.HasPrefix(text[at:], m.patterns[number]) {
				found[number]++
			}
		}
	}
	return found
}
