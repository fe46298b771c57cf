/*
 * The client half of the roofline: the least work that an epoll client on sockets
 * can do for a short connection, as a yardstick for a client that also measures.
 * It takes no latency and draws no histogram; worker.c holds the loop.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "worker.h"

static struct in_addr address(const char *text)
{
	struct in_addr ip;

	if (inet_pton(AF_INET, text, &ip) != 1)
		errx(2, "%s is not an IPv4 address", text);
	return ip;
}

static struct sockaddr_in endpoint(char *text)
{
	char *colon = strchr(text, ':');

	if (!colon)
		errx(2, "%s is not ip:port", text);
	*colon = 0;
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr = address(text),
		.sin_port = htons((uint16_t)whole(colon + 1, 1, 65535)),
	};
}

/* The header of tcpbench, so that its server can be driven too: see internal/wire. */
static void write_header(char *to, long request_size, long response_size)
{
	uint32_t sizes[2] = {htonl((uint32_t)request_size), htonl((uint32_t)response_size)};

	memcpy(to, "tb\1\0", 4); /* version 1; kind exchange, the client closes, by FIN: all zero */
	memcpy(to + 4, sizes, sizeof sizes);
	memcpy(to + 12, "\0\1\0\0", 4); /* one exchange */
}

static void parse(struct plan *plan, int argc, char **argv)
{
	static const struct option options[] = {
		{"target", required_argument, NULL, 't'},
		{"threads", required_argument, NULL, 'n'},
		{"first-source", required_argument, NULL, 'f'},
		{"sources", required_argument, NULL, 's'},
		{"in-flight", required_argument, NULL, 'i'},
		{"warmup", required_argument, NULL, 'w'},
		{"seconds", required_argument, NULL, 'd'},
		{"request-size", required_argument, NULL, 'q'},
		{"response-size", required_argument, NULL, 'r'},
		{"tcpbench", no_argument, NULL, 'b'},
		{0}};
	bool tcpbench = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't': plan->target = endpoint(optarg); break;
		case 'n': plan->threads = whole(optarg, 1, 256); break;
		case 'f': plan->first_source = ntohl(address(optarg).s_addr); break;
		case 's': plan->sources = whole(optarg, 1, 65536); break;
		case 'i': plan->in_flight = whole(optarg, 1, 65536); break;
		case 'w': plan->warmup = number(optarg, 0, 3600); break;
		case 'd': plan->duration = number(optarg, 0.001, 3600); break;
		case 'q': plan->request_bytes = whole(optarg, 1, MAX_REQUEST); break;
		case 'r': plan->response_bytes = whole(optarg, 1, 1 << 30); break;
		case 'b': tcpbench = true; break;
		default: exit(2);
		}
	}
	if (!plan->target.sin_port || optind != argc || plan->sources < plan->threads)
		errx(2, "usage: client --target IP:PORT [--threads N] [--first-source IP]\n"
			"  [--sources N, at least one per thread] [--in-flight N, per thread]\n"
			"  [--warmup SECONDS] [--seconds SECONDS] [--request-size BYTES]\n"
			"  [--response-size BYTES] [--tcpbench]");
	if (tcpbench) {
		write_header(plan->request, plan->request_bytes, plan->response_bytes);
		plan->request_bytes += HEADER;
	}
}

/* The rate divides by the longest of the threads' windows, which differ by a turn of the loop. */
static void add(struct tally *sum, const struct tally *t)
{
	sum->attempted += t->attempted;
	sum->ok += t->ok;
	sum->failed += t->failed;
	sum->open += t->open;
	sum->user += t->user;
	sum->system += t->system;
	if (t->seconds > sum->seconds)
		sum->seconds = t->seconds;
}

int main(int argc, char **argv)
{
	static struct plan plan = {
		.first_source = INADDR_LOOPBACK + 0x100, /* 127.0.1.1 */
		.threads = 2,
		.sources = 64,
		.in_flight = 32,
		.duration = 5,
		.request_bytes = 1,
		.response_bytes = 1,
	};
	struct tally sum = {0};
	int first_errno = 0;

	parse(&plan, argc, argv);
	signal(SIGPIPE, SIG_IGN); /* a reset is a failed connection, not the end */
	struct worker *workers = calloc((size_t)plan.threads, sizeof *workers);
	if (!workers)
		err(1, "memory");
	for (long i = 0; i < plan.threads; i++)
		worker_start(&workers[i], &plan, i);
	for (long i = 0; i < plan.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		add(&sum, &workers[i].tally);
		if (!first_errno)
			first_errno = workers[i].first_errno;
	}
	if (first_errno)
		warnx("the first failure: %s", strerror(first_errno));
	printf("attempted=%lu ok=%lu failed=%lu open=%lu seconds=%.6f rate=%.1f "
	       "user_s=%.6f system_s=%.6f\n",
	       sum.attempted, sum.ok, sum.failed, sum.open, sum.seconds,
	       (double)sum.ok / sum.seconds, sum.user, sum.system);
	if (sum.attempted != sum.ok + sum.failed + sum.open)
		errx(1, "attempted is not ok + failed + open: an error in this program");
	return 0;
}
