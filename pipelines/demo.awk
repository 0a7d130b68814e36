# demo.awk - the demo's problems: column addition, as JSON lines.
# Variables: kind=problems|examples, part=train|test, count, seed, slip, digits (of level 1; level 2 has one more).
# `examples` adds a worked response by a teacher who gets each column sum wrong with probability `slip` and
# carries on from it. The parts are disjoint by construction: a test problem has (7 a + b) mod 13 = 0,
# which no digit decides alone.

function random(n) { # 0..n-1 (Park and Miller's generator; exact in a double)
    state = state * 16807 % 2147483647
    return int(state / 2147483647 * n)
}

function operand(n) { return 10 ^ (n - 1) + random(9 * 10 ^ (n - 1)) }

function digit(x, i) { return int(x / 10 ^ i) % 10 }

function worked(a, b, n,    i, sum, carry, text, answer) {
    for (i = 0; i < n; i++) {
        sum = digit(a, i) + digit(b, i) + carry
        if (random(1000000) < slip * 1000000)
            sum += sum > 0 && random(2) ? -1 : 1
        text = text digit(a, i) "+" digit(b, i) (carry ? "+1" : "") "=" sum (i < n - 1 ? ", " : ". ")
        carry = sum > 9
        answer = sum % 10 answer
    }
    return text "\\\\boxed{" (carry ? 1 : "") answer "}"
}

BEGIN {
    state = seed * 7919 + 1
    for (warm = 0; warm < 20; warm++) random(2)
    while (made < count) {
        level = 1 + random(2)
        n = digits + level - 1
        a = operand(n)
        b = operand(n)
        if (((7 * a + b) % 13 == 0) != (part == "test")) continue
        problem = "What is " a " + " b "?"
        if (part == "test" && problem in seen) continue
        seen[problem]
        made++
        printf "{\"problem\":\"%s\",\"answer\":\"%d\",\"level\":\"%d digits\"", problem, a + b, n
        if (kind == "examples") printf ",\"response\":\"%s\"", worked(a, b, n)
        print "}"
    }
}
