package plain

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestLegitimateWritingIsShownAsItIs(t *testing.T) {
	for name, text := range map[string]string{
		"English":                       "Refund £12.30 for order #1042 — the cup (85123A) arrived broken.\n\nPhoto attached; 2nd time.",
		"French":                        "Remboursement de 1 234,50 € à l’été : cliente fidèle, « très déçue ».",
		"German":                        "Größe geändert; Lieferung nach Köln-Süd am 3. November.",
		"Vietnamese, decomposed":        "Khách hàng đã nhận được ti\u0065\u0302\u0301ng Việt",
		"Polish, Turkish":               "Zażółć gęślą jaźń. İstanbul'dan ıspanak.",
		"Russian":                       "Верните 12 фунтов за заказ 1042: чашка разбита. Он рос в Москве.",
		"Russian with Latin":            "Заказ iPhone-чехол доставлен, USB-кабель нет.",
		"Greek":                         "Η παραγγελία 1042 δεν έφτασε ποτέ στον πελάτη.",
		"Armenian":                      "Պատվերը չի հասել հաճախորդին։",
		"Arabic":                        "العميل طلب استرداد 12 جنيهًا للطلب رقم 1042، شكرًا.",
		"Arabic with a mark":            "الطلب\u200F (1042) وصل",
		"Persian with ZWNJ":             "مشتری می\u200cخواهد کتاب\u200cها را پس بدهد.",
		"Hebrew":                        "הלקוחה ביקשה החזר של 12 ליש״ט; בְּרֵאשִׁית בָּרָא",
		"Hebrew with Latin":             "הlaptop הגיע שבור",
		"Hebrew with a mark":            "סה״כ\u200F 12.30",
		"Hindi with joiners":            "क्\u200dष और क्\u200cष के लिए धनवापसी, SMSले",
		"Bengali":                       "র\u200d্যাব অর্ডার ফেরত",
		"Malayalam":                     "അവന്\u200d ഓർഡർ",
		"Sinhala":                       "ශ්\u200dරී ලංකා",
		"Tamil":                         "வாடிக்கையாளர் பணம் கேட்டார்",
		"Thai":                          "ลูกค้าขอเงินคืนสำหรับคำสั่งซื้อ น้ำ ที่นี่ กำลัง",
		"Khmer with ZWSP":               "សូម\u200bអរគុណ",
		"Tibetan":                       "བཀྲ་ཤིས་བདེ་ལེགས། རྒྱལ་པོ",
		"Chinese":                       "请退款12英镑，订单1042。客户：王小明",
		"Chinese, ideographic selector": "葛\U000E0100城市",
		"Japanese":                      "お客様のTシャツ（Ｔシャツ）が届きません。返金は１２ポンドでお願いします。カード払い",
		"Korean":                        "고객이 12파운드 환불을 요청했습니다. SNS에서",
		"Georgian":                      "მომხმარებელს სურს თანხის დაბრუნება",
		"emoji":                         "👍🏽 ❤️ 👩‍❤️‍💋‍👨 👩🏽‍🚀 🏳️‍🌈 👁️‍🗨️ 1️⃣ #️⃣ ©️ ™ 🇬🇧 🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F 🧑‍🤝‍🧑 ☺︎ 🙂‍↔️ 🫩",
		"science":                       "Δt of 5 µm at 3 kΩ, πr², α particles, χ² test, H₂O",
		"Mongolian":                     "ᠮᠣᠩᠭᠣᠯ\u180Bᠠ",
		"braille":                       "⠓⠑⠇⠇⠕⠀⠺⠕⠗⠇⠙",
		"Windows line ends":             "first\r\nsecond\tthird",
		"links":                         "See https://shop.example/orders/1042?x=1 and https://müller.example.",
	} {
		if s := Show(text); len(s.Warnings()) > 0 || slices.ContainsFunc(s.Parts, func(p Part) bool { return p.Escaped }) {
			t.Errorf("%s: %q is shown as %q with the warnings %q", name, text, s, s.Warnings())
		}
	}
}

func TestWarningsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, shown, warning string }{
		{"refund\u200b \u200b\u200bnow", "refund[U+200B] [U+200B ×2]now", "3 hidden characters"},
		{"from p\u0430ypal", "from p\u0430ypal", "1 word mixes Latin and Cyrillic letters: p\u0430ypal (p[U+0430]ypal)"},
		{"Send to \u0440\u0430\u0443\u0440\u0430 today", "Send to \u0440\u0430\u0443\u0440\u0430 today", "1 word looks Latin and is written in Cyrillic letters: раура ([U+0440][U+0430][U+0443][U+0440][U+0430])"},
		{"Refund \u202e00.1\u202c USD", "Refund [U+202E]00.1[U+202C] USD", "2 characters made to turn the direction of reading"},
		{"safe\x1b[8mhidden", "safe[U+001B][8mhidden", "1 control character"},
		{"bad \xff byte", "bad [0xFF] byte", "1 control character"},
		{"Pay 1\u0660\u0660 now", "Pay 1\u0660\u0660 now", "1 word mixes digits of several kinds: 1\u0660\u0660"},
		{"p\U0001D41Aypal", "p\U0001D41Aypal", "1 word mixes Latin and styled Latin letters: p\U0001D41Aypal (p[U+1D41A]ypal)"},
		{"ok\U000E0068\U000E0069", "ok[U+E0068 U+E0069]", "hidden characters that spell “hi”"},
		{"x" + strings.Repeat(" ", 300) + "y", "x[U+0020 ×300]y", "300 blanks in long runs"},
		{"a\u0301\u0302\u0303\u0304\u0305\u0306", "a\u0301\u0302\u0303\u0304[U+0305 U+0306]", "2 marks piled on a letter"},
		{"[Deny](javascript:alert(1))", "[Deny](javascript:alert(1))", "1 link runs as a program: javascript:alert(1"},
		{"https://paypal.com@evil.example/x", "https://paypal.com@evil.example/x", "1 link names paypal.com before the host it leads to: to evil.example"},
		{`https://evil.example\@paypal.com`, `https://evil.example\@paypal.com`, ""},
		{"http://169.254.169.254/", "http://169.254.169.254/", "1 link leads to a bare address: to 169.254.169.254"},
		{"http://xn--pypal-4ve.com/", "http://xn--pypal-4ve.com/", "1 link mixes Latin and Cyrillic letters in its host: to xn--pypal-4ve.com, which reads p\u0430ypal.com"},
		{"http://xn--mller-kva.de", "http://xn--mller-kva.de", "1 link hides its letters in punycode: to xn--mller-kva.de, which reads müller.de"},
		{"http://аррӏе.com", "http://аррӏе.com", "1 link has a host that only looks Latin: to аррӏе.com"},
	} {
		s := Show(c.text)
		if c.warning == "" {
			if len(s.Warnings()) > 0 {
				t.Errorf("%q: %q", c.text, s.Warnings())
			}
			continue
		}
		if s.String() != c.shown || !slices.Contains(s.Warnings(), c.warning) {
			t.Errorf("%q is shown as %q with %q, want %q with %q", c.text, s, s.Warnings(), c.shown, c.warning)
		}
	}
}

func TestHostsAreWhatBrowsersTakeForThem(t *testing.T) {
	for text, want := range map[string]string{
		"https://shop.example/a@b":             "shop.example",
		"see www.shop.example/x.":              "www.shop.example",
		`https:\\evil.example\@good.example`:   "evil.example",
		"https://good.example@evil.example:80": "evil.example",
		"https://Ｅｖｉｌ。example":                 "evil.example",
		"mailto:a@shop.example":                "shop.example",
		"[x](//evil.example/y)":                "evil.example",
		"http://[::1]:8080/":                   "[::1]",
		"https://ev\u200bil.example":           "evil.example",
	} {
		if got := Show(text).Links; len(got) != 1 || got[0].Host != want {
			t.Errorf("%q leads to %+v, want %s", text, got, want)
		}
	}
}

// told gives back the text that parts tell.
func told(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		if !p.Escaped {
			b.WriteString(p.Text)
			continue
		}
		last := ""
		for _, f := range strings.Fields(p.Text) {
			switch {
			case strings.HasPrefix(f, "×"):
				n, _ := strconv.Atoi(strings.TrimPrefix(f, "×"))
				b.WriteString(strings.Repeat(last, n-1))
				continue
			case strings.HasPrefix(f, "0x"):
				n, _ := strconv.ParseUint(f[2:], 16, 8)
				last = string([]byte{byte(n)})
			default:
				n, _ := strconv.ParseUint(f[2:], 16, 32)
				last = string(rune(n))
			}
			b.WriteString(last)
		}
	}
	return b.String()
}

// check holds what is shown of a text to what package plain promises of every text.
func check(t interface{ Errorf(string, ...any) }, text string) {
	s := Show(text)
	if got := told(append(slices.Clone(s.Parts), s.Rest...)); got != text {
		t.Errorf("%q is told as %q", text, got)
	}
	for _, p := range append(slices.Clone(s.Parts), s.Rest...) {
		if p.Text == "" || !utf8.ValidString(p.Text) {
			t.Errorf("%q has the part %q", text, p.Text)
		}
		for _, r := range p.Text {
			if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7F || r >= 0x80 && r < 0xA0 || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q has U+%04X in the plain part %q", text, r, p.Text)
			}
		}
	}
	room := 0
	for _, p := range s.Parts {
		room += costOf(p.Text)
	}
	if room > firstLook+mercy+lineCost || s.Cut != (len(s.Rest) > 0) || s.Cut != (s.More > 0) {
		t.Errorf("%q takes %d at first; %v, %d more", text, room, s.Cut, s.More)
	}
	if escaped := slices.ContainsFunc(append(s.Parts, s.Rest...), func(p Part) bool { return p.Escaped }); escaped && len(s.Warnings()) == 0 {
		t.Errorf("%q is escaped without a warning", text)
	}
	for _, w := range s.Warnings() {
		if strings.ContainsFunc(w, Hides) {
			t.Errorf("the warning %q hides something", w)
		}
	}
}

// nasty are characters that mean something to Show.
var nasty = []rune("aAzZ09 \n\t\r.:/@-_\u00ad\u034f\u061c\u0301\u0302\u0430\u0435\u03bf\u05d0\u0627\u094d\u0915\u0661\u1160\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u202e\u2060\u2066\u2069\u2800\u3000\u3042\u3164\ufe0f\ufeff\ufff9\ufffe\ufffd\U0001f3f4\U0001f469\U0001d41a\U000e0001\U000e0067\U000e007f\U000e0101\U0010fffe\x00\x1b\u0085")

func TestEveryTextIsToldWholeAndShownSafely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringOf(rapid.SampledFrom(nasty)), rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.Map(rapid.SliceOfN(rapid.SampledFrom(nasty), 1, 5), func(r []rune) string { return strings.Repeat(string(r), 400) }),
		).Draw(t, "text")
		check(t, text)
	})
}

func FuzzShow(f *testing.F) {
	for _, text := range []string{"", "plain", "\xff\u202e\u200d", "http://xn--a\u0430@b\\c", strings.Repeat("e\u0301", 2000), "xn--\u212a", "www.", "://", "xn--99999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, text) })
}

func TestALongTextIsCutForTheFirstLook(t *testing.T) {
	s := Show(strings.Repeat("word ", 400) + "end")
	if !s.Cut || s.Beyond() != "1,003 more characters" || told(append(s.Parts, s.Rest...)) != strings.Repeat("word ", 400)+"end" {
		t.Errorf("%v %q", s.Cut, s.Beyond())
	}
	if s := Show(strings.Repeat("line\n", 60)); !s.Cut {
		t.Error("sixty lines stand on the first look")
	}
}

func BenchmarkShow(b *testing.B) {
	for name, unit := range map[string]string{"ASCII": "Refund 12.30 for order #1042, broken cup. ", "pounds": "Refund £12.30 for order #1042, broken cup. ", "Russian": "Верните 12 фунтов за заказ. ", "hidden": "re\u200bfund p\u0430ypal "} {
		text := string([]rune(strings.Repeat(unit, 50))[:500])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Show(text)
			}
		})
	}
}
