package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
)

// answers reads answers off a connection and refuses to count one that is an error. It does no more than that: what it computes, on
// a machine that it shares with the server, makes servers look more alike than they are.
type answers struct {
	in   *bufio.Reader
	body []byte
}

func (a *answers) next() error {
	status, err := a.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(status) < len("HTTP/1.1 200") {
		return fmt.Errorf("no status line: %q", status)
	}
	code := string(status[9:12])
	length, chunked, err := a.header()
	if err != nil {
		return err
	}
	if err := a.read(length, chunked); err != nil {
		return err
	}
	if code[0] != '2' || bytes.Contains(a.body, []byte(`"isError":true`)) || bytes.Contains(a.body, []byte(`"error":{`)) {
		return fmt.Errorf("answered %s: %.300s", code, a.body)
	}
	return nil
}

func (a *answers) header() (length int, chunked bool, err error) {
	for {
		line, err := a.in.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), ":")
		switch {
		case !found:
			return length, chunked, nil
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length < 0 {
				return 0, false, fmt.Errorf("Content-Length: %q", value)
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			chunked = true
		}
	}
}

func (a *answers) read(length int, chunked bool) (err error) {
	if chunked {
		if a.body, err = io.ReadAll(httputil.NewChunkedReader(a.in)); err != nil {
			return err
		}
		if line, err := a.in.ReadSlice('\n'); err != nil || len(line) > 2 {
			return errors.Join(errors.New("trailers are not expected"), err)
		}
		return nil
	}
	if cap(a.body) < length {
		a.body = make([]byte, length)
	}
	a.body = a.body[:length]
	_, err = io.ReadFull(a.in, a.body)
	return err
}
