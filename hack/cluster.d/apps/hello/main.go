// hello is the smallest Knative Service: it answers its name, and answers a CloudEvent with another one.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	name := os.Getenv("NAME")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if t := r.Header.Get("Ce-Type"); t != "" {
			log.Printf("%s got event type=%s id=%s source=%s body=%s", name, t, r.Header.Get("Ce-Id"), r.Header.Get("Ce-Source"), body)
			if t == "smoke.request" {
				w.Header().Set("Ce-Specversion", "1.0")
				w.Header().Set("Ce-Id", "reply-"+r.Header.Get("Ce-Id"))
				w.Header().Set("Ce-Type", "smoke.reply")
				w.Header().Set("Ce-Source", "/hello/"+name)
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"echo":%q}`, body)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			return
		}
		fmt.Fprintf(w, "hello from %s\n", name)
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
