// Verifies an evidence log with nothing of Windvane: the checkpoint's signature, and that every entry is in
// the tree that it signs. Needs Debian's golang-golang-x-mod-dev:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run verify_log.go LOG-DIRECTORY VERIFIER-KEY
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// dir reads tiles where C2SP tlog-tiles puts them: without the height, which is always 8.
type dir string

func (d dir) Height() int                     { return 8 }
func (d dir) SaveTiles([]tlog.Tile, [][]byte) {}
func (d dir) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		content, err := d.read(tile)
		if err != nil {
			return nil, err
		}
		data = append(data, content)
	}
	return data, nil
}

func (d dir) read(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return os.ReadFile(filepath.Join(string(d), strings.Replace(path, "tile/data/", "tile/entries/", 1)))
}

// entries returns the entries of a bundle, each behind its length in two bytes.
func (d dir) entries(bundle tlog.Tile) (entries [][]byte) {
	rest, err := d.read(bundle)
	check(err)
	for i := 0; i < bundle.W; i++ {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			log.Fatalf("%s ends in entry %d", bundle.Path(), i)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries, rest = append(entries, rest[2:end]), rest[end:]
	}
	if len(rest) > 0 {
		log.Fatalf("%d bytes follow the entries of %s", len(rest), bundle.Path())
	}
	return entries
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: verify_log LOG-DIRECTORY VERIFIER-KEY")
	}
	logDir, key := dir(os.Args[1]), os.Args[2]
	verifier, err := note.NewVerifier(key)
	check(err)
	text, err := os.ReadFile(filepath.Join(string(logDir), "checkpoint"))
	check(err)
	signed, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	tree, err := parseTree(signed.Text, verifier.Name())
	check(err)
	hashes := tlog.TileHashReader(tree, logDir)
	for first := int64(0); first < tree.N; first += 256 {
		bundle := tlog.Tile{H: 8, L: -1, N: first / 256, W: 256}
		if tree.N-first < 256 {
			bundle.W = int(tree.N - first)
		}
		entries := logDir.entries(bundle)
		indexes := make([]int64, len(entries))
		for i := range entries {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		// The reader proves these hashes against the root.
		proven, err := hashes.ReadHashes(indexes)
		check(err)
		for i, entry := range entries {
			index, leaf := first+int64(i), tlog.RecordHash(entry)
			if proven[i] != leaf {
				log.Fatalf("entry %d is not in the tree", index)
			}
			// A written proof as well: for all entries of a small log, for a sample of a large one.
			if tree.N < 5000 || index%1000 == 0 {
				proof, err := tlog.ProveRecord(tree.N, index, hashes)
				check(err)
				check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf))
			}
		}
	}
	fmt.Printf("%s: %d entries, all in the signed tree\n", verifier.Name(), tree.N)
}

// parseTree reads the three lines of a checkpoint: origin, size and root.
func parseTree(text, origin string) (tree tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		return tree, fmt.Errorf("the checkpoint is of another form or log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}
