package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
)

type vaultCmds struct {
	Connections vaultConnections `cmd:"" help:"List what people have connected, without tokens."`
	Revoke      vaultRevoke      `cmd:"" help:"End a connection, here and at the provider."`
	RotateKey   vaultRotateKey   `cmd:"" help:"Make a new master key and seal everything under it."`
}

// masterKeys are where the vault's keys are kept. Their text may stand in the environment; it is no flag, because others see
// command lines.
type masterKeys struct {
	VaultKeyFile string `placeholder:"PATH" help:"The master keys of the vault, when they are neither in DTCGATE_VAULT_KEY nor vault.key in --data."`
}

func (m masterKeys) open(a *app) (*vault.Keys, error) {
	return vault.OpenKeys(os.Getenv(vault.KeyVariable), m.path(a))
}

func (m masterKeys) path(a *app) string {
	if m.VaultKeyFile != "" {
		return m.VaultKeyFile
	}
	return filepath.Join(a.Data, "vault.key")
}

type vaultConnections struct {
	forMerchant
	asJSON
}

func (c *vaultConnections) Run(ctx context.Context, a *app) error {
	var all []vault.Connection
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		all, err = vault.List(tx, m.ID, "")
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, c := range all {
			rows = append(rows, []string{
				c.ID, c.Provider, c.Person, c.Account, string(c.State), c.LastError, when(c.ExpiresAt), when(c.RefreshAt), c.KeyID,
			})
		}
		table(w, []string{"ID", "PROVIDER", "PERSON", "ACCOUNT", "STATE", "ERROR", "TOKEN UNTIL", "RENEWED AT", "KEY"}, rows)
	})
}

type vaultRevoke struct {
	forMerchant
	masterKeys
	Config string `placeholder:"FILE" help:"The server's settings, with the providers: without them the grant ends here, and not at the provider."`
	ID     string `arg:"" help:"The connection's id, con_…."`
}

func (c *vaultRevoke) Run(ctx context.Context, a *app) error {
	settings, err := readConfig(c.Config)
	if err != nil {
		return err
	}
	var ended vault.Connection
	err = a.withVault(ctx, c.masterKeys, settings, func(db *store.DB, v *vault.Vault) error {
		var m auth.Merchant
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			m, err = c.find(tx)
			return err
		})
		if err != nil {
			return err
		}
		ended, err = v.Revoke(ctx, vault.By{Principal: auth.OperatorPrincipal(m.ID), Transport: "cli"}, c.ID)
		return err
	})
	if errors.Is(err, vault.ErrNotConnected) {
		return fmt.Errorf("there is no live connection %q: `dtcgate vault connections` shows them", c.ID)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Revoked %s. Its tokens are gone from here.\n", ended.ID)
	if !settings.revokes(ended.Provider) {
		fmt.Fprintf(a.out, "The grant at %s still stands: end it there.\n", visible(ended.Provider))
	}
	return nil
}

// revokes reports whether a provider can be told that a grant is over.
func (c fileConfig) revokes(provider string) bool {
	for _, p := range c.Providers {
		if p.Name == provider {
			return p.RevokeURL != ""
		}
	}
	return false
}

type vaultRotateKey struct {
	masterKeys
	asJSON
}

func (c *vaultRotateKey) Run(ctx context.Context, a *app) error {
	var done vault.Rotation
	err := a.withVault(ctx, c.masterKeys, fileConfig{}, func(_ *store.DB, v *vault.Vault) (err error) {
		done, err = v.RotateKey(ctx, vault.By{Principal: auth.OperatorPrincipal(""), Transport: "cli"})
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, done, func(w io.Writer) {
		made := "Made"
		if !done.Added {
			made = "The keys stand in " + vault.KeyVariable + "; its first is"
		}
		fmt.Fprintf(w, "%s key %s. Sealed under it: %d.\n", made, done.KeyID, done.Resealed)
		if done.Unopened > 0 {
			fmt.Fprintf(w, "Not opened by any key at hand: %d. Bring back the key they were sealed with, or let their people connect again.\n", done.Unopened)
		}
	})
}

// withVault opens the existing database and its vault for fn.
func (a *app) withVault(ctx context.Context, m masterKeys, settings fileConfig, fn func(*store.DB, *vault.Vault) error) error {
	return a.with(ctx, func(db *store.DB) error {
		keys, err := m.open(a)
		if err != nil {
			return err
		}
		v, err := vault.New(vault.Config{DB: db, Keys: keys, Providers: settings.Providers, OnError: func(err error) {
			fmt.Fprintf(a.err, "dtcgate: %v\n", err)
		}})
		if err != nil {
			return err
		}
		return fn(db, v)
	})
}
