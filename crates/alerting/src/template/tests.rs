//! Templates of labels and annotations: what they print and what they refuse.

use model::Timestamp;

use super::{Context, Template, Value};

fn expand(text: &str, value: f64) -> String {
    let query = |text: &str| match text {
        "up" => Ok(vec![
            Value::sample(Value::labels([("instance", "b"), ("job", "x")]), 1.0),
            Value::sample(Value::labels([("instance", "a"), ("job", "x")]), 0.5),
        ]),
        "none" => Ok(vec![]),
        other => Err(format!("cannot parse {other}")),
    };
    let context = Context {
        now: Timestamp::from_millis(1_234_567_890_123),
        external_url: "http://lantern.example/x",
        external_labels: Value::labels([("region", "eu")]),
        query: &query,
    };
    let labels = Value::labels([("instance", "web-1:9100"), ("device", "sda")]);
    match Template::parse(text) {
        Err(error) => format!("parse error at {}: {error}", error.at),
        Ok(template) => match template.expand(&context, &labels, value) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        },
    }
}

fn check(cases: &[(&str, f64, &str)]) {
    for (template, value, expected) in cases {
        assert_eq!(expand(template, *value), *expected, "{template}");
    }
}

#[test]
fn variables_and_fields() {
    check(&[
        ("plain", 0.0, "plain"),
        (
            "{{ $labels.instance }} {{ .Labels.device }}",
            0.0,
            "web-1:9100 sda",
        ),
        ("[{{ $labels.nothing }}]", 0.0, "[]"),
        ("{{$value}} {{ .Value }}", 1.5, "1.5 1.5"),
        (
            "{{ $externalLabels.region }} {{ .ExternalURL }} {{ externalURL }}",
            0.0,
            "eu http://lantern.example/x http://lantern.example/x",
        ),
        (
            "{{ $ }}",
            1.0,
            "{map[region:eu] http://lantern.example/x map[device:sda instance:web-1:9100] 1}",
        ),
        ("{{ .Nope }}", 0.0, "error: there is no field .Nope"),
        ("{{ $labels.a.b }}", 0.0, "error: a string has no field .b"),
        ("{{ pathPrefix }}", 0.0, "/x"),
        ("{{ $x := 5 }}{{ $x = 6 }}{{ $x }}", 0.0, "6"),
    ]);
}

#[test]
fn numbers_print_as_in_go() {
    check(&[
        ("{{ $value }}", 0.0, "0"),
        ("{{ $value }}", 100_000.0, "100000"),
        ("{{ $value }}", 1_000_000.0, "1e+06"),
        ("{{ $value }}", 123_456_789.0, "1.23456789e+08"),
        ("{{ $value }}", 0.000_1, "0.0001"),
        ("{{ $value }}", 0.000_01, "1e-05"),
        ("{{ $value }}", f64::NAN, "NaN"),
        ("{{ $value }}", f64::INFINITY, "+Inf"),
        ("{{ printf \"%.2f\" $value }}", 12.345_6, "12.35"),
        ("{{ $value | printf \"%8.1f|\" }}", 12.34, "    12.3|"),
        (
            "{{ printf \"%-6s|%06.2f|%+d|%x\" \"ab\" 3.14159 5 255 }}",
            0.0,
            "ab    |003.14|+5|ff",
        ),
        ("{{ printf \"%d\" $value }}", 1.5, "%!d(float64=1.5)"),
        ("{{ printf \"%s %s\" \"a\" }}", 0.0, "a %!s(MISSING)"),
        ("{{ printf \"a\" 1 }}", 0.0, "a%!(EXTRA int=1)"),
        (
            "{{ printf \"%q %v %t %%\" \"a\\\"b\" 2.0 true }}",
            0.0,
            "\"a\\\"b\" 2 true %",
        ),
        (
            "{{ printf \"%.3g %g %e\" 1234.5 0.1 1500.0 }}",
            0.0,
            "1.23e+03 0.1 1.500000e+03",
        ),
    ]);
}

#[test]
fn humanizers() {
    check(&[
        ("{{ humanize $value }}", 0.0, "0"),
        ("{{ humanize $value }}", 1_234_567.0, "1.235M"),
        ("{{ humanize $value }}", 0.012, "12m"),
        ("{{ humanize $value }}", -1_500.0, "-1.5k"),
        ("{{ humanize1024 $value }}", 1_048_576.0, "1Mi"),
        ("{{ humanize1024 $value }}", 0.5, "0.5"),
        ("{{ humanizePercentage $value }}", 0.123_456, "12.35%"),
        ("{{ $value | humanizeDuration }}", 0.0, "0s"),
        ("{{ $value | humanizeDuration }}", 12.345, "12.35s"),
        ("{{ $value | humanizeDuration }}", 0.012_3, "12.3ms"),
        ("{{ $value | humanizeDuration }}", 899.9, "14m 59s"),
        ("{{ $value | humanizeDuration }}", -3_661.0, "-1h 1m 1s"),
        ("{{ $value | humanizeDuration }}", 90_061.0, "1d 1h 1m 1s"),
        (
            "{{ humanizeTimestamp $value }}",
            1_435_065_584.128,
            "2015-06-23 13:19:44.128 +0000 UTC",
        ),
        ("{{ humanize \"2000\" }}", 0.0, "2k"),
        (
            "{{ humanize \"x\" }}",
            0.0,
            "error: error calling humanize: \"x\" is not a number",
        ),
        ("{{ parseDuration \"1h30m\" }}", 0.0, "5400"),
        ("{{ toDuration 90 }}", 0.0, "1m30s"),
        ("{{ now }}", 0.0, "1.234567890123e+09"),
    ]);
}

#[test]
fn control_flow() {
    check(&[
        (
            "{{ if gt $value 5.0 }}high{{ else if gt $value 1.0 }}mid{{ else }}low{{ end }}",
            9.0,
            "high",
        ),
        (
            "{{ if gt $value 5.0 }}high{{ else if gt $value 1.0 }}mid{{ else }}low{{ end }}",
            2.0,
            "mid",
        ),
        (
            "{{ if gt $value 5.0 }}high{{ else if gt $value 1.0 }}mid{{ else }}low{{ end }}",
            0.0,
            "low",
        ),
        (
            "{{ with $labels.none }}{{ . }}{{ else }}empty{{ end }}",
            0.0,
            "empty",
        ),
        (
            "{{ with $x := $labels.device }}<{{ $x }}{{ . }}>{{ end }}",
            0.0,
            "<sdasda>",
        ),
        (
            "{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}",
            0.0,
            "b=1;a=0.5;",
        ),
        (
            "{{ range $i, $s := query \"up\" | sortByLabel \"instance\" }}{{ $i }}{{ $s.Labels.instance }} {{ end }}",
            0.0,
            "0a 1b ",
        ),
        (
            "{{ range $k, $v := $labels }}{{ $k }}:{{ $v }},{{ end }}",
            0.0,
            "device:sda,instance:web-1:9100,",
        ),
        (
            "{{ range query \"none\" }}x{{ else }}nothing{{ end }}",
            0.0,
            "nothing",
        ),
        (
            "{{ range query \"up\" }}{{ .Value }}{{ break }}{{ end }}",
            0.0,
            "1",
        ),
        ("a {{- /* gone */ -}} b {{- \" c \" -}} d", 0.0, "ab c d"),
        (
            "{{ and true \"x\" }} {{ or 0 \"y\" }} {{ not 0 }}",
            0.0,
            "x y true",
        ),
        (
            "{{ with query \"up\" }}{{ . | first | value }} {{ . | first | label \"job\" }}{{ end }}",
            0.0,
            "1 x",
        ),
        (
            "{{ query \"none\" | first | value }}",
            0.0,
            "error: error calling first: first() called on vector with no elements",
        ),
        (
            "{{ query \"bad(\" }}",
            0.0,
            "error: error calling query: cannot parse bad(",
        ),
        ("{{ (query \"up\" | first).Labels.job }}", 0.0, "x"),
        (
            "{{ if eq $labels.device \"sdb\" \"sda\" }}yes{{ end }}",
            0.0,
            "yes",
        ),
        (
            "{{ len $labels }} {{ index $labels \"device\" }} {{ slice \"abcdef\" 1 3 }}",
            0.0,
            "2 sda bc",
        ),
    ]);
}

#[test]
fn text_functions() {
    check(&[
        (
            "{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}",
            0.0,
            "web-1",
        ),
        ("{{ match \"^web\" $labels.instance }}", 0.0, "true"),
        (
            "{{ title \"disk is full\" }} {{ toUpper \"a\" }} {{ toLower \"A\" }}",
            0.0,
            "Disk Is Full A a",
        ),
        (
            "{{ stripPort \"h.example:80\" }} {{ stripDomain \"h.example:80\" }}",
            0.0,
            "h.example h:80",
        ),
        (
            "{{ safeHtml \"<b>\" }} {{ html \"<b>\" }} {{ urlquery \"a b&c\" }}",
            0.0,
            "<b> &lt;b&gt; a+b%26c",
        ),
        (
            "{{ graphLink \"up > 1\" }}",
            0.0,
            "/graph?g0.expr=up+%3E+1&g0.tab=0",
        ),
        (
            "{{ print 1 2 \"x\" 3 }}{{ println \"a\" 1 }}",
            0.0,
            "1 2x3a 1\n",
        ),
        (
            "{{ `raw \\n` }}{{ \"\\u00e9\\t\" }}{{ 'a' }}",
            0.0,
            "raw \\né\t97",
        ),
        (
            "{{ reReplaceAll \"(\" \"\" \"x\" }}",
            0.0,
            "error: error calling reReplaceAll: \"(\" is not a regular expression",
        ),
    ]);
}

#[test]
fn mistakes_are_found_when_parsed() {
    check(&[
        (
            "a {{ $lables.x }}",
            0.0,
            "parse error at 5: undefined variable $lables",
        ),
        (
            "{{ humanise 1 }}",
            0.0,
            "parse error at 3: function 'humanise' is not defined",
        ),
        (
            "{{ if true }}x",
            0.0,
            "parse error at 0: {{if}} has no {{end}}",
        ),
        ("x{{ end }}", 0.0, "parse error at 1: unexpected {{end}}"),
        (
            "{{ $value ",
            0.0,
            "parse error at 0: action is not closed: '}}' expected",
        ),
        (
            "{{ }}",
            0.0,
            "parse error at 3: a value or function is missing",
        ),
        ("{{ \"a }}", 0.0, "parse error at 3: string is not closed"),
        (
            "{{ template \"x\" }}",
            0.0,
            "parse error at 3: 'template' is not supported in rule templates",
        ),
        (
            "{{ $value | 5 }}",
            0.0,
            "parse error at 12: only a function can stand behind '|'",
        ),
        (
            "{{ $labels 5 }}",
            0.0,
            "parse error at 3: only a function can take arguments",
        ),
        (
            "{{ break }}",
            0.0,
            "parse error at 3: {{break}} outside {{range}}",
        ),
        (
            "{{ printf }}",
            0.0,
            "error: wrong number of arguments for printf: 0",
        ),
    ]);
    assert!(expand(&"{{ if 1 }}".repeat(100), 0.0).contains("nested deeper than 64"));
    assert!(
        expand(
            "{{ range 100000 }}{{ range 100 }}{{ . }}{{ end }}{{ end }}",
            0.0
        )
        .starts_with("error")
    );
}
