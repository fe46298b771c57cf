package lab

import _ "tcpbench/internal/epoll"
