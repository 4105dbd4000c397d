//! `fairlane fair-order` from outside: the rule on small files, and what happens to files that mean nothing.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// Tie seed of every anchor here.
const SEED: [u8; 32] = [7; 32];

/// One anchor; a list is drawn as a word whose letters are ids: "AB" lists A, then B.
fn anchor(lists: &[&str]) -> Value {
    let ids = |list: &&str| list.chars().map(String::from).collect();
    let append: Vec<Vec<String>> = lists.iter().map(ids).collect();
    json!({"seed": hex::encode(SEED), "append": append})
}

fn file(n: u32, f: u32, deferral_cap: u32, anchors: &[Value]) -> Value {
    json!({"n": n, "f": f, "deferral_cap": deferral_cap, "anchors": anchors})
}

/// What the command makes of `file`; on standard output and in a file alike.
fn ordered(file: &Value) -> Value {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("in.json"), file.to_string()).unwrap();
    let printed = sandbox.run(&["fair-order", "--input", "in.json"]);
    assert_eq!((printed.status, &*printed.stderr), (Some(0), ""));
    let again = sandbox.run(&["fair-order", "--input", "in.json", "--json", "out.json"]);
    assert_eq!((again.status, &*again.stdout), (Some(0), ""), "{again:?}");
    let written = std::fs::read_to_string(sandbox.path("out.json")).unwrap();
    assert_eq!(written, printed.stdout, "the same input, the same bytes");
    serde_json::from_str(&written).unwrap()
}

/// The groups of each anchor as words, and what is pending as one.
fn drawn(ordered: &Value) -> (Vec<Vec<String>>, String) {
    let word = |group: &Value| {
        let ids = group.as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap()).collect::<String>()
    };
    let groups = |anchor: &Value| {
        let groups = anchor["groups"].as_array().unwrap();
        groups.iter().map(word).collect()
    };
    let anchors = ordered["anchors"].as_array().unwrap();
    (
        anchors.iter().map(groups).collect(),
        word(&ordered["pending"]),
    )
}

/// How many waits each anchor cut: for a group, and by the cap.
fn cuts(ordered: &Value) -> Vec<(u64, u64)> {
    let cuts = |anchor: &Value| {
        let count = |name: &str| anchor[name].as_u64().unwrap();
        (count("group_wait_cut"), count("cap_fired"))
    };
    ordered["anchors"]
        .as_array()
        .unwrap()
        .iter()
        .map(cuts)
        .collect()
}

/// The order that the tie hash gives: BLAKE3 keyed with the seed, of each id's digest.
fn by_hash(ids: &[(&str, [u8; 32])]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort_by_key(|(_, digest)| *blake3::keyed_hash(&SEED, digest).as_bytes());
    ids.iter().map(|(id, _)| String::from(*id)).collect()
}

#[test]
fn what_all_list_in_one_order_is_ordered_so() {
    let ordered = ordered(&file(5, 1, 64, &[anchor(&["ABC"; 5])]));
    assert_eq!(
        drawn(&ordered),
        (vec![vec!["A".into(), "B".into(), "C".into()]], "".into())
    );
    assert_eq!(cuts(&ordered), [(0, 0)]);
    assert_eq!(ordered.as_object().unwrap().len(), 2);
    assert_eq!(ordered["anchors"][0].as_object().unwrap().len(), 3);
}

#[test]
fn one_liar_of_five_turns_nothing_round() {
    let lists = ["ABC", "ABC", "CBA", "ABC", "ABC"];
    let ordered = ordered(&file(5, 1, 64, &[anchor(&lists)]));
    assert_eq!(drawn(&ordered).0, [["A", "B", "C"]]);
}

#[test]
fn anchors_that_append_nothing_order_nothing() {
    let empty = anchor(&["", "", "", ""]);
    let nothing: Vec<Vec<String>> = vec![Vec::new(); 2];
    let both = ordered(&file(4, 1, 64, &[empty.clone(), empty.clone()]));
    assert_eq!(drawn(&both), (nothing, String::new()));
    let none = ordered(&file(4, 1, 64, &[]));
    assert_eq!(none, json!({"anchors": [], "pending": []}));
    let between = [
        anchor(&["A", "A", "", ""]),
        empty,
        anchor(&["", "", "", "A"]),
    ];
    let (groups, pending) = drawn(&ordered(&file(4, 1, 64, &between)));
    assert_eq!(
        (groups[0].len(), groups[1].len(), pending),
        (0, 0, String::new())
    );
    assert_eq!(groups[2], ["A"]);
}

#[test]
fn an_id_is_ready_when_n_less_f_list_it_and_a_smaller_f_asks_for_more() {
    let three = [anchor(&["A", "A", "A", "", "B"])];
    assert_eq!(drawn(&ordered(&file(5, 1, 64, &three))).1, "AB");
    let four = [anchor(&["A", "A", "A", "A", "B"])];
    let (groups, pending) = drawn(&ordered(&file(5, 1, 64, &four)));
    assert_eq!((&groups[0][..], &*pending), (&["A".to_owned()][..], "B"));
    assert_eq!(drawn(&ordered(&file(5, 0, 64, &four))).1, "AB");
}

#[test]
fn an_id_listed_after_it_was_ordered_is_not_ordered_again() {
    let anchors = [
        anchor(&["AB", "AB", "AB", ""]),
        anchor(&["C", "C", "C", "ABC"]),
    ];
    let ordered = ordered(&file(4, 1, 64, &anchors));
    let groups = vec![vec!["A".to_owned(), "B".into()], vec!["C".into()]];
    assert_eq!(drawn(&ordered), (groups, String::new()));
}

#[test]
fn a_cycle_is_one_group_in_the_order_of_the_keyed_hash_of_its_digests() {
    let hex = "00ff".repeat(16);
    let (a, b, c) = ("alpha", "βήτα", &*hex);
    let lists = json!([[a, b, c], [b, c, a], [c, a, b], []]);
    let ring = json!({"seed": hex::encode(SEED), "append": lists});
    let ordered = ordered(&file(4, 1, 64, &[ring]));
    let hashed = |id: &str| *blake3::hash(id.as_bytes()).as_bytes();
    let mut itself = [0; 32];
    hex::decode_to_slice(c, &mut itself).unwrap();
    let group = by_hash(&[(a, hashed(a)), (b, hashed(b)), (c, itself)]);
    assert_eq!(ordered["anchors"][0]["groups"], json!([group]));
}

#[test]
fn what_could_be_forced_before_it_is_waited_for_until_the_cap() {
    // Two have X before Y and one Y alone: whoever comes fourth may yet make X before Y forced.
    let empty = anchor(&["", "", "", ""]);
    let mut anchors = vec![anchor(&["XY", "XY", "Y", ""]), empty.clone(), empty];
    let waiting = ordered(&file(4, 1, 3, &anchors));
    assert_eq!(drawn(&waiting).1, "XY");
    anchors.push(anchor(&["", "", "", "Z"]));
    let capped = ordered(&file(4, 1, 3, &anchors));
    let (groups, pending) = drawn(&capped);
    assert_eq!((&groups[3][..], &*pending), (&["Y".to_owned()][..], "XZ"));
    assert_eq!(cuts(&capped), [(0, 0), (0, 0), (0, 0), (0, 1)]);
    let came = [anchor(&["XY", "XY", "Y", ""]), anchor(&["", "", "X", ""])];
    let came = drawn(&ordered(&file(4, 1, 3, &came)));
    assert_eq!(came.0[1], ["X", "Y"], "and then it goes first");
}

#[test]
fn the_wait_for_a_group_is_cut_after_an_eighth_of_the_cap() {
    // A before B before C before A, each 3 to 2 or more, and f = 0: A waits for a fifth listing.
    let ring = anchor(&["ABC", "BCA", "CAB", "BC", "CAB"]);
    let (empty, fifth) = (
        anchor(&["", "", "", "", ""]),
        anchor(&["", "", "", "A", ""]),
    );
    let ordered = ordered(&file(5, 0, 8, &[ring, empty, fifth]));
    let (groups, pending) = drawn(&ordered);
    assert_eq!(groups[0].len(), 0);
    assert_eq!(
        (&groups[1..], &*pending),
        (
            &[vec!["B".to_owned(), "C".into()], vec!["A".into()]][..],
            ""
        )
    );
    assert_eq!(cuts(&ordered), [(0, 0), (2, 0), (0, 0)]);
}

#[test]
fn fields_may_stand_in_any_order_and_text_may_be_escaped() {
    let sandbox = Sandbox::new();
    let seed = "AB".repeat(32);
    let text = format!(
        "\n{{\"anchors\": [{{\"append\": [[\"\\u0041\"], [\"A\"], [\"A\", \"\"], []], \"seed\": \"{seed}\"}}],\n\
         \"deferral_cap\": 64, \"f\": 1, \"n\": 4}}\n\n"
    );
    std::fs::write(sandbox.path("in.json"), text).unwrap();
    let ran = sandbox.run(&["fair-order", "--input", "in.json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let ordered: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ordered["anchors"][0]["groups"], json!([["A"]]));
    assert_eq!(ordered["pending"], json!([""]));
}

/// A file that holds, a field a line: each case below changes one thing.
const GOOD: &str = r#"{
  "n": 4,
  "f": 1,
  "deferral_cap": 64,
  "anchors": [
    {
      "seed": "0707070707070707070707070707070707070707070707070707070707070707",
      "append": [["a", "b"],
                 ["a", "b"],
                 ["b"],
                 []]
    },
    {"seed": "0707070707070707070707070707070707070707070707070707070707070707",
      "append": [[], [], ["a"], ["c"]]}
  ]
}
"#;

#[test]
fn a_file_that_means_nothing_is_refused_with_the_line_and_the_reason() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("in.json"), GOOD).unwrap();
    let good = sandbox.run(&["fair-order", "--input", "in.json"]);
    assert_eq!(good.status, Some(0), "{good:?}");
    // The digest of "a", which is an id of its own and stands for the same.
    let twin = format!("[\"{}\"]]}}", blake3::hash(b"a").to_hex());
    for (was, is, line, words) in [
        ("\"n\": 4", "\"n\": 0", 2, &["1 to 128", "not 0"][..]),
        ("\"n\": 4", "\"n\": 129", 2, &["1 to 128", "not 129"]),
        ("\"n\": 4", "\"n\": 4.0", 2, &["n is an integer"]),
        ("\"n\": 4", "\"n\": \"4\"", 2, &["n is an integer"]),
        ("\"n\": 4", "\"n\": -4", 2, &["n is an integer"]),
        ("\"n\": 4", "\"n\": 5", 8, &["4 lists", "n is 5"]),
        (
            "\"n\": 4,",
            "\"n\": 4, \"n\": 4,",
            2,
            &["duplicate field `n`"],
        ),
        ("\"f\": 1", "\"f\": 2", 3, &["f is at most", "= 1, not 2"]),
        ("\"f\": 1", "\"f\": -1", 3, &["f is an integer"]),
        ("\"f\": 1", "\"f\": null", 3, &["f is an integer"]),
        ("  \"f\": 1,\n", "", 15, &["missing field `f`"]),
        ("64,", "0,", 4, &["deferral_cap is at least 1"]),
        ("64,", "4294967296,", 4, &["deferral_cap is an integer"]),
        (
            "64,",
            "64, \"g\": 1,",
            4,
            &["unknown field `g`", "deferral_cap"],
        ),
        ("64,", "64 64,", 4, &["expected"]),
        ("\"seed\": \"0707", "\"seed\": \"07", 7, &["64 hex digits"]),
        (
            "\"seed\": \"0707",
            "\"seed\": \"070z",
            7,
            &["64 hex digits"],
        ),
        (
            "{\"seed\"",
            "{\"salt\": 1, \"seed\"",
            13,
            &["unknown field `salt`"],
        ),
        ("[\"b\"],", "[\"b\"], [],", 8, &["5 lists", "n is 4"]),
        (
            "[\"b\"],",
            "[\"b\", 7],",
            10,
            &["an id is a string, not \"7\""],
        ),
        ("[\"b\"],", "\"b\",", 10, &["expected a sequence"]),
        (
            "[\"b\"],",
            "[\"b\", \"b\"],",
            10,
            &["authority 2", "\"b\" a second time"],
        ),
        (
            "[\"b\"],",
            "[\"b\", \"\\ud800\"],",
            10,
            &["an id is a string"],
        ),
        (
            "[[], [], [\"a\"]",
            "[[], [],\n[\"b\"]",
            15,
            &["authority 2", "\"b\" a second time"],
        ),
        (
            "[[], [], [\"a\"]",
            "[[\"a\"], [], [\"a\"]",
            14,
            &["authority 0", "\"a\" a second time"],
        ),
        ("[\"c\"]]}", &twin, 14, &["\"a\" stand for the same digest"]),
        ("[\n    {", "[\n    [], {", 6, &["expected"]),
        ("  ]\n}", "  ],\n}", 16, &["trailing comma"]),
        ("  ]\n}\n", "  ]\n}\n{}", 17, &["trailing characters"]),
        ("  ]\n}\n", "  ]\n", 16, &["EOF"]),
        (GOOD, "", 1, &["EOF"]),
        (GOOD, "\n[4, 1, 64, []]", 2, &["expected an object"]),
    ] {
        let changed = GOOD.replacen(was, is, 1);
        assert_ne!(changed, GOOD, "{was}");
        std::fs::write(sandbox.path("in.json"), changed).unwrap();
        let ran = sandbox.run(&["fair-order", "--input", "in.json", "--json", "out.json"]);
        ran.assert_refused(words);
        let place = format!("fairlane: in.json line {line}: ");
        assert!(ran.stderr.starts_with(&place), "no {place:?} in {ran:?}");
        assert!(!sandbox.path("out.json").exists(), "{is}");
    }
}

#[test]
fn more_ids_than_may_wait_are_refused_and_ids_that_were_ordered_wait_no_more() {
    let sandbox = Sandbox::new();
    let ids = |from: usize, to: usize| (from..to).map(|id| id.to_string()).collect::<Vec<_>>();
    let anchor = |ids: Vec<String>| json!({"seed": hex::encode(SEED), "append": [ids]});
    let ran = |last: usize| {
        // Of one authority an id is ordered at once.
        let anchors = [anchor(ids(0, 100)), anchor(ids(100, last))];
        let [first, second] = anchors.map(|anchor| anchor.to_string());
        let text =
            format!("{{\"n\":1,\"f\":0,\"deferral_cap\":1,\"anchors\":[\n{first},\n{second}]}}");
        std::fs::write(sandbox.path("in.json"), text).unwrap();
        sandbox.run(&["fair-order", "--input", "in.json", "--json", "out.json"])
    };
    ran(100 + 32_769).assert_refused(&["in.json line 3: ", "more than 32768 ids"]);
    assert!(!sandbox.path("out.json").exists());
    assert_eq!(ran(100 + 4_000).status, Some(0));
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_named() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str], words: &[&str]| {
        let arguments = [&["fair-order"][..], arguments].concat();
        sandbox.run(&arguments).assert_refused(words);
    };
    refused(&[], &["--input"]);
    refused(
        &["--input", "absent"],
        &["cannot read absent", "No such file"],
    );
    refused(&["--input", "tmp"], &["cannot read tmp"]);
    std::fs::write(sandbox.path("in.json"), b"{\n\"n\": \xff}").unwrap();
    refused(&["--input", "in.json"], &["in.json line 2", "not UTF-8"]);
    std::fs::write(sandbox.path("in.json"), GOOD).unwrap();
    let nowhere = ["--input", "in.json", "--json", "nowhere/out.json"];
    refused(&nowhere, &["--json", "no folder nowhere"]);
    refused(
        &["--input", "in.json", "--json", "tmp"],
        &["--json tmp", "a folder"],
    );
}

#[test]
fn the_help_shows_a_file_and_what_becomes_of_it() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["fair-order", "--help"]).stdout;
    let json_after = |title: &str| {
        let lines = help.lines().skip_while(|line| *line != title).skip(1);
        let text: String = lines
            .take_while(|line| line.trim_start().starts_with(['{', ']']))
            .collect();
        text.replace("64 hex digits", &"0".repeat(64))
    };
    std::fs::write(sandbox.path("in.json"), json_after("The file:")).unwrap();
    let ran = sandbox.run(&["fair-order", "--input", "in.json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}\n{help}");
    let result: Value = serde_json::from_str(&json_after("The result:")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), result);
}
