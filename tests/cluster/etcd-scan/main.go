// Command etcd-scan finds byte strings in everything that an etcd has stored.
//
//	etcd-scan --data-dir DIR < PATTERNS
//
// Standard input holds a pattern a line, its bytes in hexadecimal. Standard output gets a JSON object a line:
// first the hits, and at the end what was looked through. Every revision is looked at, not only the latest; so
// are the write-ahead log and the bytes of each file as they lie on the disk, where what was deleted stays for
// a while. A hit that belongs to an etcd key names it; one that belongs to none names its file alone.
//
// etcd may run meanwhile. No pattern is ever printed, only its number.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A Hit is a place that holds a pattern.
type Hit struct {
	// The pattern's number: its line of standard input, from 0.
	Pattern int `json:"pattern"`
	// The file, from the data directory.
	File string `json:"file"`
	// The etcd key whose value (or name) holds it: /registry/secrets/acme/ci-key. None in bytes of no key.
	Key string `json:"key,omitempty"`
	// The revision in the database.
	Revision int64 `json:"revision,omitempty"`
	// The entry of the write-ahead log.
	Entry uint64 `json:"entry,omitempty"`
}

// A Summary says what was looked through.
type Summary struct {
	// How many revisions of the database.
	Revisions int `json:"revisions"`
	// How many entries of the write-ahead log.
	Entries int `json:"entries"`
	// How many files.
	Files int `json:"files"`
	// How many bytes are in them.
	Bytes int64 `json:"bytes"`
}

func main() {
	dataDir := flag.String("data-dir", "", "etcd's data directory")
	flag.Parse()
	if err := run(*dataDir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "etcd-scan:", err)
		os.Exit(1)
	}
}

func run(dataDir string, input io.Reader, output io.Writer) error {
	if dataDir == "" {
		return errors.New("--data-dir is needed")
	}
	patterns, err := readPatterns(input)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(output)
	lines := json.NewEncoder(buffered)
	scan := scan{
		dir:      dataDir,
		patterns: newMatcher(patterns),
		report: func(hit Hit) error {
			return lines.Encode(hit)
		},
	}
	if err := scan.everything(); err != nil {
		return err
	}
	if err := lines.Encode(map[string]Summary{"summary": scan.summary}); err != nil {
		return err
	}
	return buffered.Flush()
}

func readPatterns(input io.Reader) ([][]byte, error) {
	var patterns [][]byte
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		pattern, err := hex.DecodeString(strings.TrimSpace(lines.Text()))
		if err != nil {
			// Not the line itself: it is a secret.
			return nil, fmt.Errorf("line %d of standard input is not hexadecimal", len(patterns)+1)
		}
		if len(pattern) < shortest {
			return nil, fmt.Errorf("line %d of standard input has less than %d bytes", len(patterns)+1, shortest)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, lines.Err()
}

// A scan of one data directory.
type scan struct {
	dir      string
	patterns *matcher
	report   func(Hit) error
	summary  Summary
}

func (s *scan) everything() error {
	database := filepath.Join("member", "snap", "db")
	if err := s.database(database); err != nil {
		return fmt.Errorf("%s: %w", database, err)
	}
	return filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
		// etcd renames and removes files of its log while it runs.
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		s.summary.Files++
		s.summary.Bytes += int64(len(content))
		found := s.patterns.count(content)
		if filepath.Ext(path) == ".wal" {
			// What the entries account for has been told with its key.
			if err := s.log(name, found); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		for pattern, times := range found {
			if times > 0 {
				if err := s.report(Hit{Pattern: pattern, File: name}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
