package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const (
	secret  = "the-first-secret"
	another = "the-first-but-another"
	named   = "/registry/secrets/acme/ci-key"
)

// dataDir is a data directory whose database holds the values under one key, a revision each.
func dataDir(t *testing.T, values ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"snap", "wal"} {
		if err := os.MkdirAll(filepath.Join(dir, "member", part), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	database := open(t, dir)
	defer database.Close()
	put(t, database, values...)
	return dir
}

func open(t *testing.T, dir string) *bbolt.DB {
	t.Helper()
	database, err := bbolt.Open(filepath.Join(dir, "member", "snap", "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	return database
}

func put(t *testing.T, database *bbolt.DB, values ...string) {
	t.Helper()
	err := database.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("key"))
		for number, value := range values {
			stored := mvccpb.KeyValue{Key: []byte(named), Value: []byte(value), ModRevision: int64(number + 1)}
			content, _ := stored.Marshal()
			if err == nil {
				err = bucket.Put(binary.BigEndian.AppendUint64(nil, uint64(number+1)), content)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// scanned is what a scan for the patterns reports; raw are the hits without a key, by file.
func scanned(t *testing.T, dir string, patterns ...string) (keyed []Hit, raw map[string]int, summary Summary) {
	t.Helper()
	var input, output bytes.Buffer
	for _, pattern := range patterns {
		input.WriteString(hex.EncodeToString([]byte(pattern)) + "\n")
	}
	if err := run(dir, &input, &output); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(output.String(), secret) {
		t.Fatal("a pattern was printed")
	}
	raw = map[string]int{}
	lines := json.NewDecoder(&output)
	for lines.More() {
		var line struct {
			Hit
			Summary *Summary `json:"summary"`
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Summary != nil:
			summary = *line.Summary
		case line.Key != "":
			keyed = append(keyed, line.Hit)
		default:
			raw[line.File]++
		}
	}
	return keyed, raw, summary
}

func TestEveryRevisionIsLookedAtAndNamedByItsKey(t *testing.T) {
	dir := dataDir(t, "an old value: "+secret, "a new value")
	keyed, _, summary := scanned(t, dir, another, secret)
	if len(keyed) != 1 || keyed[0].Key != named || keyed[0].Revision != 1 || keyed[0].Pattern != 1 {
		t.Fatalf("%+v", keyed)
	}
	if summary.Revisions != 2 || summary.Files != 1 || summary.Bytes == 0 {
		t.Fatalf("%+v", summary)
	}
}

func TestTheDatabaseOfARunningEtcdIsReadToo(t *testing.T) {
	dir := dataDir(t)
	database := open(t, dir)
	defer database.Close()
	put(t, database, secret)
	keyed, _, _ := scanned(t, dir, secret)
	if len(keyed) != 1 || keyed[0].Key != named {
		t.Fatalf("%+v", keyed)
	}
}

func TestTheLogsEntriesAreNamedByTheirKeysAndOtherBytesByTheirFile(t *testing.T) {
	dir := dataDir(t, "nothing")
	log := filepath.Join(dir, "member", "wal")
	written, err := wal.Create(zap.NewNop(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	write := &etcdserverpb.PutRequest{Key: []byte(named), Value: []byte("so: " + secret)}
	operation := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: write}}
	request := etcdserverpb.InternalRaftRequest{
		Txn: &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{operation}},
	}
	data, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	entries := []raftpb.Entry{
		{Term: 1, Index: 1, Type: raftpb.EntryNormal, Data: data},
		{Term: 1, Index: 2, Type: raftpb.EntryConfChange, Data: []byte("of no key: " + another)},
	}
	if err := written.Save(raftpb.HardState{Term: 1, Commit: 2}, entries); err != nil {
		t.Fatal(err)
	}
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	keyed, raw, summary := scanned(t, dir, secret, another)
	if len(keyed) != 1 || keyed[0].Key != named || keyed[0].Entry != 1 || keyed[0].Pattern != 0 {
		t.Fatalf("%+v", keyed)
	}
	if summary.Entries != 2 || len(raw) != 1 {
		t.Fatalf("%+v %+v", summary, raw)
	}
}

func TestWhatWasDeletedIsFoundInTheBytesOfTheDatabase(t *testing.T) {
	dir := dataDir(t, "long gone: "+secret)
	database := open(t, dir)
	err := database.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("key")).Delete(binary.BigEndian.AppendUint64(nil, 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	database.Close()
	keyed, raw, _ := scanned(t, dir, secret)
	if len(keyed) != 0 || raw[filepath.Join("member", "snap", "db")] != 1 {
		t.Fatalf("%+v %+v", keyed, raw)
	}
}

func TestAPatternThatIsNotHexadecimalIsRefusedWithoutShowingIt(t *testing.T) {
	err := run(t.TempDir(), strings.NewReader(secret+"\n"), &bytes.Buffer{})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Fatal(err)
	}
}
