package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// How often the database of a running etcd is copied until a copy is whole.
const attempts = 10

// errTorn says that a copy was made while etcd wrote.
var errTorn = errors.New("the copy of a running etcd's database is not whole")

// database looks through every revision in the file with this name.
func (s *scan) database(name string) error {
	file := filepath.Join(s.dir, name)
	// A stopped etcd has released its lock on the file.
	opened, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 200 * time.Millisecond})
	if err == nil {
		defer opened.Close()
		return s.revisions(opened, name)
	}
	if !errors.Is(err, bbolterrors.ErrTimeout) {
		return err
	}
	for range attempts {
		if err = s.copied(file, name); !errors.Is(err, errTorn) {
			return err
		}
	}
	return err
}

// copied looks through a copy; nothing is reported from one that is not whole.
func (s *scan) copied(file, name string) (err error) {
	dir, err := os.MkdirTemp("", "etcd-scan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "db")
	if err := copyFile(file, copied); err != nil {
		return err
	}
	// bbolt panics on a page that is none.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", errTorn, reason)
		}
	}()
	opened, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	defer opened.Close()
	err = opened.View(func(tx *bbolt.Tx) error {
		var first error
		// To the end: the check goes on in the background until all it says is taken.
		for problem := range tx.Check() {
			if first == nil {
				first = fmt.Errorf("%w: %w", errTorn, problem)
			}
		}
		return first
	})
	if err != nil {
		return err
	}
	return s.revisions(opened, name)
}

func (s *scan) revisions(opened *bbolt.DB, name string) error {
	return opened.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		if bucket == nil {
			return errors.New("there is no bucket of revisions: this is not etcd's database")
		}
		return bucket.ForEach(func(_, value []byte) error {
			var stored mvccpb.KeyValue
			if err := stored.Unmarshal(value); err != nil {
				return fmt.Errorf("a revision that cannot be read: %w", err)
			}
			s.summary.Revisions++
			for pattern := range s.patterns.count(value) {
				hit := Hit{Pattern: pattern, File: name, Key: string(stored.Key), Revision: stored.ModRevision}
				if err := s.report(hit); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return err
	}
	return target.Close()
}
