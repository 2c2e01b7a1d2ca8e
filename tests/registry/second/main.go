// A registry in memory, of go-containerregistry, on the port that is given.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], registry.New()))
}
