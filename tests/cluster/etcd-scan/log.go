package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
)

// log reports the hits in one file of the write-ahead log by their etcd keys, and takes them off what was
// found in the file's bytes: what remains belongs to no key.
func (s *scan) log(name string, found map[int]int) error {
	if len(found) == 0 {
		// Only counted then; to decode each entry would tell nothing more.
		return s.entries(name, func(raftpb.Entry) error { return nil })
	}
	return s.entries(name, func(entry raftpb.Entry) error {
		if len(s.patterns.count(entry.Data)) == 0 || entry.Type != raftpb.EntryNormal {
			return nil
		}
		var request etcdserverpb.InternalRaftRequest
		if err := request.Unmarshal(entry.Data); err != nil {
			// Not a request of today's etcd: its bytes stay what they are, a hit without a key.
			return nil
		}
		for _, put := range puts(&request) {
			for pattern, times := range s.patterns.count(put.Value) {
				found[pattern] -= times
				hit := Hit{Pattern: pattern, File: name, Key: string(put.Key), Entry: entry.Index}
				if err := s.report(hit); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *scan) entries(name string, each func(raftpb.Entry) error) error {
	file, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := wal.NewDecoder(fileutil.NewFileReader(file))
	var record walpb.Record
	for {
		err := decoder.Decode(&record)
		// A running etcd may be in the middle of the last record.
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch record.Type {
		case wal.CrcType:
			decoder.UpdateCRC(record.Crc)
		case wal.EntryType:
			var entry raftpb.Entry
			if err := entry.Unmarshal(record.Data); err != nil {
				return err
			}
			s.summary.Entries++
			if err := each(entry); err != nil {
				return err
			}
		}
	}
}

// puts are all values that a request writes. The API server writes in transactions.
func puts(request *etcdserverpb.InternalRaftRequest) []*etcdserverpb.PutRequest {
	var found []*etcdserverpb.PutRequest
	if request.Put != nil {
		found = append(found, request.Put)
	}
	return append(found, putsOf(request.Txn)...)
}

func putsOf(transaction *etcdserverpb.TxnRequest) []*etcdserverpb.PutRequest {
	if transaction == nil {
		return nil
	}
	var found []*etcdserverpb.PutRequest
	for _, branch := range [][]*etcdserverpb.RequestOp{transaction.Success, transaction.Failure} {
		for _, operation := range branch {
			if put := operation.GetRequestPut(); put != nil {
				found = append(found, put)
			}
			found = append(found, putsOf(operation.GetRequestTxn())...)
		}
	}
	return found
}
