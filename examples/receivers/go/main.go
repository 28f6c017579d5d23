package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 5 * time.Minute

// change is the body; its rows are kept as they were written, digit for digit.
type change struct {
	Event  string          `json:"event"`
	Table  string          `json:"table"`
	Row    json.RawMessage `json:"row"`
	OldRow json.RawMessage `json:"old_row"`
}

// keyOf gives the bytes behind whsec_ when they are base64 of 24 to 64 bytes, else the whole secret.
func keyOf(secret string) []byte {
	if encoded := strings.TrimPrefix(secret, "whsec_"); encoded != secret {
		key, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err == nil && len(key) >= 24 && len(key) <= 64 {
			return key
		}
	}
	return []byte(secret)
}

func verified(secret string, header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" {
		return false
	}
	if age := time.Since(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return false
	}
	mac := hmac.New(sha256.New, keyOf(secret))
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// There are two while a secret is being rotated.
	for _, given := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal(expected, []byte(given)) {
			return true
		}
	}
	return false
}

func main() {
	secret, port := os.Getenv("SECRET"), os.Getenv("PORT")
	if secret == "" {
		log.Fatal("set SECRET to the webhook's secret")
	}
	if port == "" {
		port = "3000"
	}
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 2<<20))
		if err != nil {
			http.Error(response, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		var event change
		if !verified(secret, request.Header, body) || json.Unmarshal(body, &event) != nil {
			http.Error(response, "", http.StatusUnauthorized)
			return
		}
		// The same event may come twice: keep the id with what you do, and do nothing the second time.
		fmt.Println(request.Header.Get("webhook-id"), event.Event, event.Table, string(event.Row), string(event.OldRow))
		response.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
