// What Go's archive/tar, with which every container runtime unpacks layers, finds in the archives on standard input (each
// behind its length, 32 bits little-endian): a list for each as `test_tar --lists` prints it.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
)

var types = map[byte]string{tar.TypeReg: "file", tar.TypeRegA: "file", tar.TypeCont: "file", tar.TypeGNUSparse: "file",
	tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeDir: "dir", tar.TypeFifo: "fifo"}

func escape(s, empty string) string {
	if s == "" {
		return empty
	}
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] > 0x20 && s[i] < 0x7f && s[i] != '\\' {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "\\x%02x", s[i])
		}
	}
	return b.String()
}

func clean(s string) string { return path.Clean("/" + s)[1:] }

func list(w io.Writer, archive []byte) {
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			if err == io.EOF {
				fmt.Fprintln(w, "end")
			} else {
				fmt.Fprintln(w, "refused:", err)
			}
			return
		}
		kind, known := types[h.Typeflag]
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if !known { // runtimes refuse it
			fmt.Fprintf(w, "refused: type %q\n", h.Typeflag)
			return
		}
		size, digest, link := int64(0), "-", ""
		if kind == "file" {
			sum := sha256.New()
			if size, err = io.Copy(sum, r); err != nil {
				fmt.Fprintln(w, "refused:", err)
				return
			}
			digest = fmt.Sprintf("%x", sum.Sum(nil))
		}
		if kind == "hardlink" {
			link = clean(h.Linkname)
		} else if kind == "symlink" {
			link = h.Linkname
		}
		fmt.Fprintf(w, "%s %04o %d %s %s %s\n", kind, h.Mode&07777, size, digest, escape(clean(h.Name), "."), escape(link, "-"))
	}
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	var n uint32
	for binary.Read(in, binary.LittleEndian, &n) == nil {
		archive := make([]byte, n)
		if _, err := io.ReadFull(in, archive); err != nil {
			panic(err)
		}
		list(out, archive)
	}
}
