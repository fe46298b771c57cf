module tcpbench

go 1.26.0
