//go:build unix

package store

import (
	"context"
	"crypto/tls"
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// lives reports whether a connection of the pool, on which nobody asked anything, is as quiet as it should be. One that the server has closed, or
// said something on (that it is stopping), is not used any more. It asks the system without waiting: a round trip more would cost every
// transaction what this saves the first ones after a restart of the server.
func lives(_ context.Context, conn *pgx.Conn) (bool, error) {
	c := conn.PgConn().Conn()
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	raw, ok := c.(syscall.Conn)
	if !ok {
		return true, nil
	}
	return quiet(raw), nil
}

func quiet(raw syscall.Conn) bool {
	socket, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	// Not Read, which waits for its turn: pgx may have somebody read in the background, who waits for the server to say something.
	err = socket.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && nothing
}
