//! Manifests that are wrong, or right but odd: one mutation of a valid manifest each, chosen by the CRD's own schema.

use serde_json::{Map, Value, json};

/// What a case is made of; the same seed and number make the same case.
pub struct Case {
    pub number: usize,
    /// What was changed.
    pub what: String,
    /// A refusal must name one of these fields.
    pub fields: Vec<String>,
    pub manifest: Value,
    /// Where an unknown field was added. The API server drops such fields, unless it validates strictly.
    pub unknown: Option<String>,
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, number: usize) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap_or_default()
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// The schema of a StreamPipeline as it is committed.
pub fn schema() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/streampipelines.yaml");
    let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).expect("the CRD is there")).expect("the CRD is YAML");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// A place in a manifest that the schema knows, and its schema.
type Node = (Vec<String>, Value);

fn nodes(path: &[String], schema: &Value, there: &Value, found: &mut Vec<Node>) {
    found.push((path.to_vec(), schema.clone()));
    let below = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    if let (Some(properties), true) = (schema["properties"].as_object(), there.is_object()) {
        for (name, schema) in properties {
            nodes(&below(name), schema, &there[name], found);
        }
    }
    if let Some(item) = there.get(0) {
        nodes(&below("0"), &schema["items"], item, found);
    }
}

/// Makes the numbered case from one of the valid manifests.
pub fn case(seed: u64, number: usize, schema: &Value, bases: &[Value]) -> Case {
    let mut random = Random::new(seed, number);
    let name = format!("case-{number}");
    let mut manifest = random.one_of(bases);
    manifest["metadata"] = json!({ "name": name });
    if let Some(group) = manifest.pointer_mut("/spec/kafka/consumerGroup") {
        *group = json!(format!("hostile-{seed}-{number}"));
    }
    let what;
    let (mut fields, mut unknown) = (Vec::new(), None);
    match random.below(12) {
        0 => (what, fields) = metadata(&mut random, &mut manifest),
        1 => (what, fields) = contradiction(&mut random, &mut manifest),
        kind => {
            let mut all = Vec::new();
            nodes(&["spec".to_owned()], &schema["properties"]["spec"], &manifest["spec"], &mut all);
            if kind < 4 {
                all.retain(|(path, schema)| schema["type"] == "object" && at(&mut manifest, path).is_some_and(|v| v.is_object()));
                let (path, _) = random.one_of(&all);
                let field = random.one_of(&["pauseAfter", "v2beta1", "to2", "Position", "_", "ключ", "a.b/c", "dryrun"]);
                at(&mut manifest, &path).expect("it is there")[field] =
                    random.one_of(&[json!(1), json!("x"), json!({ "y": [{}] }), nested(60)]);
                what = format!("unknown field {field:?} in {}", path.join("."));
                fields.push(field.to_owned());
                unknown = Some(path.join("."));
            } else {
                all.retain(|(path, _)| path.len() > 1 || kind == 4);
                let (path, schema) = random.one_of(&all);
                what = mutate(&mut random, &mut manifest, &path, &schema);
                // The field or its parent: a refusal of a list item, or by a rule about several fields, names the parent.
                fields.extend(path.iter().rev().filter(|p| p.parse::<usize>().is_err()).take(2).filter(|p| *p != "spec").cloned());
                if path.len() <= 2 {
                    fields.push("spec".to_owned());
                }
            }
        }
    }
    Case { number, what, fields, manifest, unknown }
}

fn at<'a>(manifest: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    manifest.pointer_mut(&path.iter().map(|p| format!("/{p}")).collect::<String>())
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("bottom"), |inner, n| if n % 2 == 0 { json!({ "n": inner }) } else { json!([inner]) })
}

fn mutate(random: &mut Random, manifest: &mut Value, path: &[String], schema: &Value) -> String {
    let (last, parent) = path.split_last().expect("a path below the root");
    let shown = path.join(".");
    if at(manifest, path).is_some() && last.parse::<usize>().is_err() && random.below(8) == 0 {
        if let Some(Value::Object(map)) = at(manifest, parent) {
            map.remove(last);
        }
        return format!("{shown} deleted");
    }
    let value = values(random, schema);
    if let Some(there) = at(manifest, path) {
        *there = value.clone();
    } else if let Some(there) = at(manifest, parent) {
        there[last] = value.clone();
    }
    format!("{shown} = {}", value.to_string().chars().take(120).collect::<String>())
}

const TEXTS: [&str; 24] = [
    "",
    " ",
    "\u{0}",
    "a\u{0}b",
    "\u{202e}gnp.exe",
    "e\u{301}\u{301}\u{301}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{feff}x",
    "line\nbreak",
    "\u{1b}[31mred\u{1b}[0m",
    "tab\there",
    "\u{2028}",
    "../../etc/passwd",
    "${jndi:ldap://x}",
    "{{ .Values }}",
    "%s%n",
    "'; DROP TABLE",
    "true",
    "null",
    "-1",
    "1e309",
    "ＦＵＬＬ",
    "ünïcode",
    "\u{10ffff}",
];
const DURATIONS: [&str; 22] = [
    "1h1", "-5s", "9999999h", "0.0001ns", "P1D", "1d", "5", "+5s", "1h30m", "0s", "0", "1ns", "720h", "720h1ms", "999h", "1 s", "1H",
    ".5s", "5.s", "1m1h", "0.001s", "1e3s",
];
const TIMES: [&str; 14] = [
    "1970-01-01T00:00:00Z",
    "2999-12-31T23:59:59Z",
    "2999-12-31T23:59:59.999999999-23:59",
    "1970-01-01T00:00:00+14:00",
    "2026-02-30T00:00:00Z",
    "2026-11-22T08:00:00",
    "2026-11-22",
    "2026-11-22T24:00:00Z",
    "2026-06-30T23:59:60Z",
    "9999-12-31T23:59:59Z",
    "-9999-01-01T00:00:00Z",
    "2026-11-22t08:00:00z",
    "1763798400",
    "2026-11-22T08:00:00+99:00",
];
const ADDRESSES: [&str; 16] = [
    "no-such-host.invalid:9092",
    "127.0.0.1:1",
    "127.0.0.1:0",
    "127.0.0.1:65535",
    "127.0.0.1:65536",
    "[::1]:1",
    "[::ffff:127.0.0.1]:1",
    "0.0.0.0:9092",
    "-:1",
    "...:1",
    "http://127.0.0.1:1",
    "https://127.0.0.1:1",
    "https://[::]:99999/",
    "https://user:pw@127.0.0.1",
    "169.254.169.254:80",
    "a:1,b:2",
];

/// A value, mostly of the type that the schema asks for.
fn values(random: &mut Random, schema: &Value) -> Value {
    let odd = random.below(4) == 0;
    let of_another_type =
        [json!(null), json!(1), json!(-1.5), json!("1"), json!([]), json!({}), json!(true), nested(100), json!([[["x"]]])];
    if odd {
        return random.one_of(&of_another_type);
    }
    match schema["type"].as_str() {
        Some("string") => text(random, schema),
        Some("integer") => integer(random, schema),
        Some("boolean") => random.one_of(&[json!(true), json!("true"), json!("yes"), json!(0)]),
        Some("array") => list(random, schema),
        Some("object") => random.one_of(&[json!({}), json!([{}]), json!("{}"), json!({ "": "" }), nested(50)]),
        _ => random.one_of(&[nested(100), json!(i64::MAX), json!("x".repeat(10_000)), json!([1, "2", { "3": null }])]),
    }
}

fn text(random: &mut Random, schema: &Value) -> Value {
    if let (Some(words), true) = (schema["enum"].as_array(), random.below(3) > 0) {
        let word = random.one_of(words);
        let word = word.as_str().unwrap_or_default();
        let other = [word.to_owned(), word.to_lowercase(), word.to_uppercase(), format!("{word} "), format!("{word}\u{0}")];
        return json!(random.one_of(&other));
    }
    let limit = usize::try_from(schema["maxLength"].as_u64().unwrap_or(64)).unwrap_or(64);
    let long =
        ["x".repeat(limit), "x".repeat(limit + 1), "é".repeat(limit), "\u{1f600}".repeat(limit), "x".repeat(10_000), "\n".repeat(limit)];
    json!(match random.below(6) {
        0 => random.one_of(&long),
        1 => random.one_of(&DURATIONS).to_owned(),
        2 => random.one_of(&TIMES).to_owned(),
        3 => random.one_of(&ADDRESSES).to_owned(),
        _ => random.one_of(&TEXTS).to_owned(),
    })
}

fn integer(random: &mut Random, schema: &Value) -> Value {
    let bound = |name: &str, or: i64| schema[name].as_f64().map_or(or, |n| n as i64);
    let (low, high) = (bound("minimum", i64::MIN), bound("maximum", i64::MAX));
    let more = [json!(0), json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e30), json!(1.5), json!("7"), json!(true)];
    let near = [json!(low), json!(low.saturating_sub(1)), json!(high), json!(high.saturating_add(1))];
    if random.below(2) == 0 { random.one_of(&near) } else { random.one_of(&more) }
}

fn list(random: &mut Random, schema: &Value) -> Value {
    // With 12,000 items that are all wrong the API server itself needs more than a minute on a busy machine.
    let size = random.one_of(&[0, 1, 2, 17, 33, 500, 4_000]);
    let item = values(random, &schema["items"]);
    let alike = random.below(2) == 0;
    let made = |n: usize| match schema["items"]["type"].as_str() {
        _ if alike => item.clone(),
        Some("integer") => json!(n),
        Some("string") => json!(format!("127.0.0.1:{}", n + 1)),
        _ => json!({ "name": format!("n{n}"), "kind": "Deployment", "apiVersion": "apps/v1" }),
    };
    // A list of large items is kept below the limit of a request.
    let most = 1_000_000 / (item.to_string().len() + 1);
    Value::Array((0..size.min(most)).map(made).collect())
}

fn metadata(random: &mut Random, manifest: &mut Value) -> (String, Vec<String>) {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let fill = |n: usize| format!("{name}-{}", "n".repeat(n - name.len() - 1));
    let many: Map<String, Value> = (0..500).map(|n| (format!("example.com/k{n}"), json!("v".repeat(63)))).collect();
    let (field, value) = random.one_of(&[
        ("name", json!(fill(63))),
        ("name", json!(fill(64))),
        ("name", json!(fill(253))),
        ("name", json!(fill(254))),
        ("name", json!(format!("{name}.dot"))),
        ("name", json!(format!("{name}_X"))),
        ("name", json!(format!("{name}\u{1f600}"))),
        ("name", json!("")),
        ("name", json!(7)),
        ("labels", json!({ "a b": "c" })),
        ("labels", json!({ "a": "x".repeat(64) })),
        ("labels", Value::Object(many.clone())),
        ("labels", json!({ "a": 1 })),
        ("annotations", Value::Object(many)),
        ("annotations", json!({ "big": "x".repeat(250_000) })),
        ("annotations", json!({ "big": "x".repeat(300_000) })),
        ("annotations", json!({ "ansi": "\u{1b}[2J\n\u{202e}" })),
        ("generateName", json!("x".repeat(300))),
        ("finalizers", json!(["no slash or dot"])),
        ("ownerReferences", json!([{ "apiVersion": "v1" }])),
    ]);
    manifest["metadata"][field] = value.clone();
    let shown: String = value.to_string().chars().take(80).collect();
    (format!("metadata.{field} = {shown}"), vec![format!("metadata.{field}"), field.to_owned()])
}

fn contradiction(random: &mut Random, manifest: &mut Value) -> (String, Vec<String>) {
    let enos = json!({ "endpoint": "https://127.0.0.1:1", "orgID": "o1", "pipelineID": "p", "credentialsSecretRef": { "name": "none" } });
    let kafka = json!({ "bootstrapServers": ["127.0.0.1:1"], "consumerGroup": "hostile-other" });
    let (path, value) = random.one_of(&[
        ("/spec", json!({})),
        ("/spec", json!({ "kafka": kafka, "enos": enos })),
        ("/spec", json!({ "kafka": {}, "enos": null })),
        ("/spec/offsetReset/to", json!({ "position": "Earliest", "shiftBy": 5 })),
        ("/spec/offsetReset/to", json!({})),
        ("/spec/offsetReset/to", json!({ "timestamp": "2026-01-01T00:00:00Z", "position": "Latest" })),
        ("/spec/offsetReset/topics", json!([{ "name": "a" }, { "name": "a" }])),
        ("/spec/offsetReset", json!({ "id": "x", "whenActive": "Pause", "to": { "position": "Latest" } })),
        ("/spec/offsetReset", json!({ "id": "x", "expiresAt": "1970-01-01T00:00:00Z", "to": { "position": "Latest" } })),
        ("/spec/offsetReset", json!({ "id": "x", "whenCreated": "Run", "to": { "shiftBy": i64::MIN } })),
    ]);
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    let there = if parent.is_empty() { Some(&mut *manifest) } else { manifest.pointer_mut(parent) };
    if let Some(there) = there {
        there[last] = value.clone();
    }
    (format!("{path} = {value}"), vec![last.to_owned(), "offsetReset".to_owned(), "kafka".to_owned(), "enos".to_owned(), "spec".to_owned()])
}
