// convert: the layers of an OCI layout as eStargz or zstd:chunked, by the libraries that define the two.
//
//	convert estargz|zstd:chunked FROM-LAYOUT TO-LAYOUT [chunk size [minimum of a gzip member]]
//
// The numbers are eStargz's (0: its own). Prints nothing; the new layout has one image without a name.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containers/storage/pkg/chunked/compressor"
	"github.com/klauspost/compress/zstd"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

func blob(layout, digest string) string {
	return filepath.Join(layout, "blobs/sha256", digest[len("sha256:"):])
}

func read(path string, to any) {
	b, err := os.ReadFile(path)
	check(err)
	check(json.Unmarshal(b, to))
}

func write(layout string, b []byte) (string, int64) {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	check(os.WriteFile(blob(layout, digest), b, 0o644))
	return digest, int64(len(b))
}

// Unpacked into a file without a name.
func unpack(path string) *os.File {
	f, err := os.Open(path)
	check(err)
	defer f.Close()
	in := bufio.NewReader(f)
	head, _ := in.Peek(4)
	var from io.Reader = in
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		from, err = gzip.NewReader(in)
	} else if bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		from, err = zstd.NewReader(in)
	}
	check(err)
	to, err := os.CreateTemp("", "convert")
	check(err)
	os.Remove(to.Name())
	_, err = io.Copy(to, from)
	check(err)
	return to
}

func number(i int) int {
	if len(os.Args) <= i {
		return 0
	}
	n, err := strconv.Atoi(os.Args[i])
	check(err)
	return n
}

// The layer into `to`; its diff ID and its annotations.
func convert(format string, tar *os.File, to io.Writer) (string, map[string]string) {
	size, err := tar.Seek(0, io.SeekEnd)
	check(err)
	if format == "estargz" {
		b, err := estargz.Build(io.NewSectionReader(tar, 0, size), estargz.WithChunkSize(number(4)), estargz.WithMinChunkSize(number(5)))
		check(err)
		_, err = io.Copy(to, b)
		check(err)
		check(b.Close())
		return b.DiffID().String(), map[string]string{estargz.TOCJSONDigestAnnotation: b.TOCDigest().String()}
	}
	annotations := map[string]string{}
	diff := sha256.New()
	_, err = tar.Seek(0, io.SeekStart)
	check(err)
	level := 3
	w, err := compressor.ZstdCompressor(to, annotations, &level)
	check(err)
	_, err = io.Copy(io.MultiWriter(w, diff), tar)
	check(err)
	check(w.Close())
	return fmt.Sprintf("sha256:%x", diff.Sum(nil)), annotations
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: convert estargz|zstd:chunked FROM-LAYOUT TO-LAYOUT [chunk size [minimum]]")
		os.Exit(2)
	}
	format, from, to := os.Args[1], os.Args[2], os.Args[3]
	check(os.MkdirAll(filepath.Join(to, "blobs/sha256"), 0o755))
	var index, m manifest
	read(filepath.Join(from, "index.json"), &index)
	read(blob(from, index.Manifests[0].Digest), &m)
	var config map[string]any
	read(blob(from, m.Config.Digest), &config)
	var diffs []string
	for i := range m.Layers {
		l := &m.Layers[i]
		tar := unpack(blob(from, l.Digest))
		out, err := os.CreateTemp(to, "layer")
		check(err)
		hash := sha256.New()
		diff, annotations := convert(format, tar, io.MultiWriter(out, hash))
		tar.Close()
		l.Size, err = out.Seek(0, io.SeekCurrent)
		check(err)
		l.Digest = fmt.Sprintf("sha256:%x", hash.Sum(nil))
		l.Annotations = annotations
		l.MediaType = "application/vnd.oci.image.layer.v1.tar+gzip"
		if format != "estargz" {
			l.MediaType = "application/vnd.oci.image.layer.v1.tar+zstd"
		}
		check(out.Close())
		check(os.Chmod(out.Name(), 0o644))
		check(os.Rename(out.Name(), blob(to, l.Digest)))
		diffs = append(diffs, diff)
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffs}
	b, err := json.Marshal(config)
	check(err)
	m.MediaType = "application/vnd.oci.image.manifest.v1+json"
	m.Config.MediaType = "application/vnd.oci.image.config.v1+json"
	m.Config.Digest, m.Config.Size = write(to, b)
	b, err = json.Marshal(m)
	check(err)
	d := descriptor{MediaType: m.MediaType}
	d.Digest, d.Size = write(to, b)
	b, err = json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{d}})
	check(err)
	check(os.WriteFile(filepath.Join(to, "index.json"), b, 0o644))
	check(os.WriteFile(filepath.Join(to, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}
