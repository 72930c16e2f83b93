// What the node's tests need beside the servers: a consumer for pods, a look into Kafka, images, and a process that only waits.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

// kafkaFlags say which broker, topic and group are meant.
type kafkaFlags struct {
	brokers, topic, group string
	count, partitions     int
}

var commands = map[string]func(context.Context, []string) error{
	"wait":    func(context.Context, []string) error { return wait() },
	"image":   func(_ context.Context, args []string) error { return image(args) },
	"consume": withKafka(consume),
	"create":  withKafka(create),
	"produce": withKafka(produce),
	"group":   withKafka(group),
	"commits": withKafka(commits),
	"get":     func(_ context.Context, args []string) error { return get(args) },
}

func main() {
	log.SetFlags(log.LUTC | log.Ltime | log.Lmicroseconds)
	args := append(os.Args, "")
	command, known := commands[args[1]]
	if !known {
		log.Fatalf("usage: %s %s", args[0], strings.Join(names(), "|"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command(ctx, os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func names() []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

func withKafka(run func(context.Context, kafkaFlags) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		var f kafkaFlags
		flags := flag.NewFlagSet("", flag.ExitOnError)
		flags.StringVar(&f.brokers, "brokers", "127.0.0.1:9092", "")
		flags.StringVar(&f.topic, "topic", "readings", "")
		flags.StringVar(&f.group, "group", "turbine-cleaning", "")
		flags.IntVar(&f.count, "count", 3000, "records")
		flags.IntVar(&f.partitions, "partitions", 3, "")
		if err := flags.Parse(args); err != nil {
			return err
		}
		return run(ctx, f)
	}
}

// wait does nothing until it is told to end, and buries whoever dies below it: what holds a pod's namespaces, and the node's.
func wait() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}
