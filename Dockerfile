# tcpbench alone in an empty image: static, without root, without a shell. docs/containers.md
# says how to run it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o /tcpbench ./cmd/tcpbench

FROM scratch
COPY --from=build /tcpbench /tcpbench
USER 65534:65534
ENTRYPOINT ["/tcpbench"]
CMD ["doctor"]
