# evaluate.jq - the table of an evaluation, in the columns of the paper.
# With $format "json": what jrl-eval said (in $eval), the facts of the run ($facts) and the published rows ($published,
# a TSV) as one object. With "text" and "markdown": that object, read from the input, as lines.

def fixed($places): if . == null then "-" else
    (pow(10; $places) as $ten | (. * $ten | round) as $n | "\($n / $ten | floor)" +
        if $places == 0 then "" else "." + ("\($n % $ten)" | ("0" * ($places - length)) + .) end) end;
def percent: if . == null then null else . * 100 end;

# ---- the object ----

def published_rows: [$published | split("\n")[] | select(. != "" and (startswith("#") | not)) | split("\t")] |
    .[0] as $keys | .[1:][] | [$keys, .] | transpose | map({key: .[0], value: .[1]}) | from_entries |
    . as $row | {backbone, model, values: [$facts.columns[] | $row[.] | if . == "/" then null else tonumber end],
        avg: (.Avg | if . == "/" then null else tonumber end)};

# One row of the benchmarks' scores: VALUE of each, and of their mean where all are there.
def scores(value; $mean): $eval[0].by.source as $by | [$facts.columns[] | $by[.] | if . == null then null else value end] |
    {values: ., avg: (if any(. == null) then null else $mean end)};

def object: $eval[0].mean.source as $mean | {
    policy: $facts.policy, policy_id: $facts.policy_id, rule: $facts.rule, judge: $facts.judge,
    columns: $facts.columns, problems: [$facts.columns[] | $eval[0].by.source[.].problems], samples: [$facts.columns[] | $eval[0].by.source[.].samples],
    confidence: $eval[0].confidence,
    avg: scores(.avg | percent; $mean.avg | percent),
    low: scores(.avg_low | percent; $mean.avg_low | percent),
    high: scores(.avg_high | percent; $mean.avg_high | percent),
    rule_alone: scores(.judge.rule_avg | percent; $mean.judge.rule_avg | percent),
    tokens: scores(.tokens; $mean.tokens),
    truncated: scores(.truncated | percent; $mean.truncated | percent),
    mean_of_evaluated: ($mean.avg | percent),
    published: [published_rows], notes: $facts.notes, eval: $eval[0] };

# ---- its lines ----

def cells(shown): (.values + [.avg]) | map(shown);
def ranges: [.low, .high] | map(.values + [.avg]) | transpose | map(if .[0] == null or .[1] == null then "-" else "\(.[0] | fixed(1))-\(.[1] | fixed(1))" end);
def head: ["Model"] + .columns + ["Avg"];
def own_lines: [
    [.policy] + (.avg | cells(fixed(2))),
    ["  responses a problem"] + (.samples | map(. // "-" | tostring)) + [""],
    ["  \(.confidence * 100) % interval"] + ranges,
    (if .judge then ["  the rule alone"] + (.rule_alone | cells(fixed(2))) else empty end),
    ["  mean tokens"] + (.tokens | cells(fixed(0))),
    ["  cut at the limit, %"] + (.truncated | cells(fixed(1)))];
def published_lines: .published | group_by(.backbone) | map([.[] | [.model] + cells(fixed(2))]);

def padded($width): . + " " * ($width - length);
def right($width): " " * ($width - length) + .;
def aligned: (map(map(length)) | transpose | map(max)) as $widths |
    map([[., $widths] | transpose | to_entries[] | .key as $k | .value as [$cell, $width] |
        if $k == 0 then $cell | padded($width) else $cell | right($width) end] | join("  "));

def text: . as $t | ([head] + own_lines + (published_lines | add)) | aligned |
    ($t | published_lines | map(length)) as $counts |
    ($t | [own_lines] | 1 + (.[0] | length)) as $own | .[:$own][], "published",
    (.[$own:] | . as $rows | reduce $counts[] as $n ({at: 0, lines: []}; .lines += (if .at > 0 then [""] else [] end) + $rows[.at:.at + $n] | .at += $n) | .lines[]),
    "", $t.notes[];

def markdown: def row: "| " + join(" | ") + " |";
    (head | row), (head | map("---") | .[1:] |= map(. + ":") | row), ((own_lines + (published_lines | add))[] | map(sub("^ +"; "")) | row),
    "", (.notes[] | "- " + .);

if $format == "json" then object elif $format == "text" then text else markdown end
