/*
 * The server half of the roofline: the least work that an epoll server on
 * sockets can do for a short connection. It answers, it waits for the client's
 * FIN, it closes. It knows no protocol, so whatever it is slower than is the
 * cost of knowing one.
 *
 * Per connection: accept4, epoll_ctl, read, write, read, close, and no more.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"

enum {
	BACKLOG = 4096,     /* the kernel cuts it to net.core.somaxconn */
	EVENTS = 256,
	MAX_MESSAGE = 16384 /* a response fits a fresh send buffer: one write() sends it whole */
};

/* One thread owns one loop; main only reads the counters, at the end. */
struct loop {
	_Alignas(64) pthread_t thread;
	int epoll, listener;
	_Atomic unsigned long accepted, failed;
};

/* Connection: close makes the client close, because this server never does so first. */
static const char http_response[] =
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

static uint16_t port;
static long threads = 2, request_size = 1, response_size = 1;
static const char *response;
/* Bytes received so far, by descriptor: a descriptor belongs to one loop at a time. */
static uint32_t *received;

/* One writer only, so a locked increment would be work for nothing. */
static void add_one(_Atomic unsigned long *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static int listen_on(uint16_t on)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(on), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one))
		err(1, "setsockopt");
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		err(1, "bind to port %d", on);
	if (listen(fd, BACKLOG))
		err(1, "listen");
	return fd;
}

/* One per event: the listener stays ready while its queue holds more, and a loop that
 * ends with EAGAIN would buy nothing for its extra call. */
static void accept_one(struct loop *loop)
{
	int fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		err(1, "accept4"); /* EMFILE and the like: the measurement is void */
	}
	add_one(&loop->accepted);
	received[fd] = 0;
	/* Level-triggered and IN alone serves the request and the FIN: no MOD. */
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll_ctl");
}

static void serve(struct loop *loop, int fd)
{
	char buffer[65536];
	ssize_t n = read(fd, buffer, sizeof buffer);

	if (n > 0) {
		uint32_t before = received[fd];

		received[fd] = before + (uint32_t)n;
		if (before >= request_size || received[fd] < request_size)
			return;
		if (write(fd, response, (size_t)response_size) == response_size)
			return;
	} else if (n == 0 && received[fd] >= request_size) {
		close(fd); /* also leaves the epoll set: there is no second descriptor */
		return;
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	add_one(&loop->failed);
	close(fd);
}

static void *run(void *argument)
{
	struct loop *loop = argument;
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(loop->epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == loop->listener)
				accept_one(loop);
			else
				serve(loop, events[i].data.fd);
		}
	}
	return NULL;
}

static void start(struct loop *loop)
{
	loop->listener = listen_on(port);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		err(1, "epoll_create1");
	struct epoll_event event = {.events = EPOLLIN, .data.fd = loop->listener};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->listener, &event))
		err(1, "epoll_ctl");
	if ((errno = pthread_create(&loop->thread, NULL, run, loop)))
		err(1, "pthread_create");
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"request-size", required_argument, NULL, 'q'},
		{"response-size", required_argument, NULL, 'r'},
		{"http", no_argument, NULL, 'h'},
		{0}};
	static char zeros[MAX_MESSAGE];
	int option;

	response = zeros;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p': port = (uint16_t)whole(optarg, 1, 65535); break;
		case 't': threads = whole(optarg, 1, 256); break;
		case 'q': request_size = whole(optarg, 1, MAX_MESSAGE); break;
		case 'r': response_size = whole(optarg, 1, MAX_MESSAGE); break;
		case 'h': /* a request without a body comes in one segment: its first byte will do */
			response = http_response;
			response_size = sizeof http_response - 1;
			break;
		default: exit(2);
		}
	}
	if (!port || optind != argc)
		errx(2, "usage: server --port N [--threads N] [--request-size N] "
			"[--response-size N | --http]");
}

/* A server that outlives its script would spoil the next measurement. */
static void die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGTERM))
		err(1, "prctl");
	if (getppid() != parent) /* it died before prctl() could promise anything */
		exit(1);
}

int main(int argc, char **argv)
{
	pid_t parent = getppid();
	struct rlimit files;
	struct rusage usage;
	sigset_t signals;
	int signal_number;

	parse(argc, argv);
	/* Blocked before the first thread starts, so that only sigwait() ever sees them. A shell
	 * starts background jobs with SIGINT ignored, and an ignored signal is never waited for. */
	signal(SIGINT, SIG_DFL);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* a client that resets is an errno, not the end */
	die_with(parent);

	if (getrlimit(RLIMIT_NOFILE, &files))
		err(1, "getrlimit");
	files.rlim_cur = files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20;
	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "setrlimit");
	struct loop *loops = aligned_alloc(64, (size_t)threads * sizeof *loops);
	received = calloc(files.rlim_cur, sizeof *received);
	if (!loops || !received)
		err(1, "memory");
	memset(loops, 0, (size_t)threads * sizeof *loops);

	for (long i = 0; i < threads; i++)
		start(&loops[i]);
	printf("listening %d\n", port);
	fflush(stdout);

	sigwait(&signals, &signal_number);
	unsigned long accepted = 0, failed = 0;
	for (long i = 0; i < threads; i++) {
		accepted += atomic_load(&loops[i].accepted);
		failed += atomic_load(&loops[i].failed);
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("accepted=%lu failed=%lu user_s=%ld.%06ld system_s=%ld.%06ld\n", accepted, failed,
	       usage.ru_utime.tv_sec, usage.ru_utime.tv_usec, usage.ru_stime.tv_sec,
	       usage.ru_stime.tv_usec);
	return 0;
}
