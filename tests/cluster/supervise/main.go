// Command supervise keeps a program from outliving the one that started it.
//
// A test may end by returning, by a panic, by Ctrl-C or by SIGKILL. In each case the kernel closes the pipe
// that is supervise's standard input; supervise reads the end of it and stops the program. Should supervise
// itself be killed, the kernel kills the program in the same moment (Pdeathsig).
//
//	supervise [--pid-file F] [--instance DIR] [--grace 5s] -- PROGRAM ARGS…   runs PROGRAM until standard input ends
//	supervise --detach --pid-file F -- PROGRAM ARGS…   starts PROGRAM in a session of its own and returns
//	supervise --remove DIR                             removes DIR once standard input has ended
//
// With --instance, DIR counts as in use while PROGRAM runs; --remove waits until nobody uses DIR.
// A file named keep in DIR saves it from removal. --grace is the time between SIGTERM and SIGKILL.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Exit code when supervise could not do its own work; programs seldom use it.
const failed = 125

type options struct {
	pidFile  string
	instance string
	remove   string
	detach   bool
	grace    time.Duration
}

func init() {
	// Pdeathsig follows the thread that started the program, not the process: stay on the main thread,
	// which lives as long as supervise does.
	runtime.LockOSThread()
}

func main() {
	var o options
	flag.StringVar(&o.pidFile, "pid-file", "", "write the program's process id to this file")
	flag.StringVar(&o.instance, "instance", "", "hold this directory as in use while the program runs")
	flag.StringVar(&o.remove, "remove", "", "remove this directory when standard input has ended and nobody uses it")
	flag.BoolVar(&o.detach, "detach", false, "start the program in a session of its own and leave it running")
	flag.DurationVar(&o.grace, "grace", 5*time.Second, "the time between SIGTERM and SIGKILL")
	flag.Parse()

	code, err := run(o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
	}
	os.Exit(code)
}

func run(o options, command []string) (int, error) {
	ending := parentEnded()
	switch {
	case o.remove != "" && len(command) == 0:
		<-ending
		return removeWhenUnused(o.remove)
	case len(command) == 0:
		return failed, errors.New("name the program to run after --")
	case o.detach:
		return startDetached(o.pidFile, command)
	}
	if o.instance != "" {
		held, err := lock(o.instance, syscall.LOCK_SH)
		if err != nil {
			return failed, err
		}
		defer held.Close()
	}
	return superviseUntil(ending, o, command)
}

// parentEnded is closed at the end of standard input, or when supervise is asked to stop.
func parentEnded() <-chan struct{} {
	// Before anything is started: a signal in between must not be lost.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	inputEnded := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(inputEnded)
	}()
	ending := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-inputEnded:
		}
		close(ending)
	}()
	return ending
}

func superviseUntil(ending <-chan struct{}, o options, command []string) (int, error) {
	child := exec.Command(command[0], command[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return failed, err
	}
	pid := child.Process.Pid
	// Whatever else the program started goes with it, on every way out.
	defer syscall.Kill(-pid, syscall.SIGKILL)
	if err := writePid(o.pidFile, pid); err != nil {
		return failed, err
	}

	exited := make(chan struct{})
	go func() {
		_ = child.Wait()
		close(exited)
	}()
	select {
	case <-exited:
	case <-ending:
		_ = syscall.Kill(-pid, syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(o.grace):
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			<-exited
		}
	}
	return exitCode(child.ProcessState), nil
}

func startDetached(pidFile string, command []string) (int, error) {
	child := exec.Command(command[0], command[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return failed, err
	}
	if err := writePid(pidFile, child.Process.Pid); err != nil {
		_ = child.Process.Kill()
		return failed, err
	}
	return 0, nil
}

// exitCode follows the shell: 128 and the signal's number when a signal ended the program.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// writePid replaces the file in one step: who waits for it never reads half a number.
func writePid(file string, pid int) error {
	if file == "" {
		return nil
	}
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}

func removeWhenUnused(dir string) (int, error) {
	held, err := lock(dir, syscall.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return failed, err
	}
	defer held.Close()
	if _, err := os.Stat(filepath.Join(dir, "keep")); err == nil {
		return 0, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return failed, err
	}
	return 0, nil
}

// lock waits for a lock on the directory itself; closing the file, or ending, releases it.
func lock(dir string, how int) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err := syscall.Flock(int(file.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return file, err
		}
	}
}
