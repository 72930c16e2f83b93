package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// stage writes the image's whole file system below root. The Dockerfile copies it as it is.
func stage(root, program string, sbom []byte) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	doc := "usr/share/doc/" + name + "/"
	for _, file := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{
		{name, binary, 0o755},
		// Where Debian has it, and where rustls-native-certs looks.
		{"etc/ssl/certs/ca-certificates.crt", authorities(), 0o644},
		// Scanners find it by the end of its name.
		{doc + name + ".cdx.json", sbom, 0o644},
		{doc + "LICENSE", licence, 0o644},
	} {
		to := filepath.Join(root, file.path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, file.content, file.mode); err != nil {
			return err
		}
		// Whatever the umask is.
		if err := os.Chmod(to, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// authorities are Mozilla's certificate authorities, as PEM. A root that Mozilla trusts for some certificates only is left out:
// a list of certificates cannot say which.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			block := &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}
			if err := pem.Encode(&all, block); err != nil {
				panic(fmt.Sprintf("a buffer takes what is written: %v", err))
			}
		}
	}
	return all.Bytes()
}
