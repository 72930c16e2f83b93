package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consume reads as a member of the group and commits twice a second what it has read. It says where it begins on every
// partition: after a reset, that is what its readers would notice.
func consume(ctx context.Context, f kafkaFlags) error {
	var total atomic.Int64
	assigned := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		log.Println("assigned", partitions)
	}
	c, err := f.client(kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(500*time.Millisecond), kgo.SessionTimeout(10*time.Second), kgo.OnPartitionsAssigned(assigned))
	if err != nil {
		return err
	}
	go func() {
		http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "read", total.Load()) })
		log.Fatal(http.ListenAndServe(":8080", nil))
	}()
	seen := map[int32]bool{}
	for ctx.Err() == nil {
		fetches := c.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				log.Println("error", topic, partition, err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			if !seen[r.Partition] {
				seen[r.Partition] = true
				log.Printf("first partition=%d offset=%d", r.Partition, r.Offset)
			}
			total.Add(1)
		})
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.CommitUncommittedOffsets(end); err != nil {
		log.Println("the last commit:", err)
	}
	c.Close() // leaves the group
	log.Println("left the group after", total.Load())
	return nil
}
