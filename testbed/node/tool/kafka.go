package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (f kafkaFlags) client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(more, kgo.SeedBrokers(strings.Split(f.brokers, ",")...))...)
}

// admin answers within half a minute or says why not.
func (f kafkaFlags) admin(ctx context.Context, run func(context.Context, *kadm.Client) error) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return run(ctx, kadm.NewClient(c))
}

func create(ctx context.Context, f kafkaFlags) error {
	return f.admin(ctx, func(ctx context.Context, a *kadm.Client) error {
		created, err := a.CreateTopics(ctx, int32(f.partitions), 1, nil, f.topic)
		if err != nil {
			return err
		}
		return created.Error()
	})
}

func produce(ctx context.Context, f kafkaFlags) error {
	c, err := f.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	var records []*kgo.Record
	for i := range f.count {
		records = append(records, &kgo.Record{Topic: f.topic, Partition: int32(i % f.partitions), Value: []byte(strconv.Itoa(i))})
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// group prints a group's state, how many members it has, and what is committed: "Stable 2 0=1000 1=1000 2=1000".
func group(ctx context.Context, f kafkaFlags) error {
	return f.admin(ctx, func(ctx context.Context, a *kadm.Client) error {
		described, err := a.DescribeGroups(ctx, f.group)
		if err != nil {
			return err
		}
		committed, err := a.FetchOffsets(ctx, f.group)
		if err != nil {
			return err
		}
		var offsets []string
		committed.Each(func(o kadm.OffsetResponse) { offsets = append(offsets, fmt.Sprintf("%d=%d", o.Partition, o.At)) })
		sort.Strings(offsets)
		g := described[f.group]
		fmt.Println(g.State, len(g.Members), strings.Join(offsets, " "))
		return nil
	})
}

// commits prints every commit of a group that ever landed, oldest first, from the log that its coordinator keeps: "PARTITION OFFSET".
// The log is not compacted while its segment is open, and the node's broker never rolls it.
func commits(ctx context.Context, f kafkaFlags) error {
	const log = "__consumer_offsets"
	ends := map[int32]int64{}
	err := f.admin(ctx, func(ctx context.Context, a *kadm.Client) error {
		listed, err := a.ListEndOffsets(ctx, log)
		listed.Each(func(o kadm.ListedOffset) {
			if o.Offset > 0 {
				ends[o.Partition] = o.Offset
			}
		})
		return err
	})
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for partition := range ends {
		from[partition] = kgo.NewOffset().AtStart()
	}
	c, err := f.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{log: from}))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(ends) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		var wrong error
		fetches.EachRecord(func(r *kgo.Record) {
			if err := printCommit(r, f.group); err != nil {
				wrong = err
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

func printCommit(r *kgo.Record, group string) error {
	// Keys of version 2 and up are of groups, not of offsets; a commit without a value is one that expired.
	if len(r.Key) < 2 || r.Key[0] != 0 || r.Key[1] > 1 || r.Value == nil {
		return nil
	}
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("key of record %d: %w", r.Offset, err)
	}
	if err := value.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("value of record %d: %w", r.Offset, err)
	}
	if key.Group == group {
		fmt.Println(key.Partition, value.Offset)
	}
	return nil
}

// get prints the status and the body that a URL answers with.
func get(args []string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(body))
	return err
}
