package tools

type Object []string
