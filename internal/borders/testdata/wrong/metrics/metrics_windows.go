package metrics

import _ "os/exec"
