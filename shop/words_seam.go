package shop

func (w *writer) index(kind, id string, text ...string)             {}
func (d *Desk) index(kind, id string, text ...string) error         { return nil }
func (q *query) foundBy(kind, column, text, merchant string) *query { return q }
