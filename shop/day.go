package shop

import (
	"fmt"
	"time"
	_ "time/tzdata" // the binary must know London wherever it runs
)

// London is where the store is: its days begin and end there.
var London = func() *time.Location {
	l, err := time.LoadLocation("Europe/London")
	if err != nil {
		panic(err)
	}
	return l
}()

// Day is the store-local day of an instant, as 2011-12-09.
func Day(t time.Time) string { return t.In(London).Format(time.DateOnly) }

// Midnight is the instant at which a store-local day begins.
func Midnight(day string) (time.Time, error) {
	t, err := time.ParseInLocation(time.DateOnly, day, London)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a day (want YYYY-MM-DD)", day)
	}
	return t, nil
}

// weeksTo is how many whole weeks lie between the day of last and yesterday, as seen from today: moved by as many, last
// falls on the latest day before today with its own weekday. It is negative when last lies ahead.
func weeksTo(last, today time.Time) int64 {
	days := int64(civil(today).Sub(civil(last)).Hours())/24 - 1 // to yesterday
	weeks := days / 7
	if days%7 < 0 {
		weeks-- // round down, so that no order lies in the future
	}
	return weeks
}

// civil is the store-local day of t as a UTC midnight, so that days can be counted without summer time.
func civil(t time.Time) time.Time {
	y, m, d := t.In(London).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// shift moves an instant by whole weeks and keeps its time on a London clock.
func shift(t time.Time, weeks int64) time.Time { return t.In(London).AddDate(0, 0, int(7*weeks)) }
