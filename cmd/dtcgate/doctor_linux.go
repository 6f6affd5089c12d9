package main

import (
	"os"
	"syscall"
)

// freeSpace gives how many bytes an unprivileged process may still write where a path lies.
func freeSpace(path string) (uint64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}

// Numbers of file systems over a network (statfs(2), linux/magic.h).
var networkMagic = map[int64]string{0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x01021997: "9P", 0x00c36400: "Ceph"}

// networkFileSystem names the network file system that a path lies on; "" for a local one.
func networkFileSystem(path string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return ""
	}
	return networkMagic[int64(uint32(s.Type))]
}

// openFiles gives how many files this process may have open.
func openFiles() (uint64, bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err == nil
}

// locked reports whether a server holds the lock on a file.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == syscall.EWOULDBLOCK
}
