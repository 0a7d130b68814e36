/* decimal.h - floats as decimal text and back, exact both ways: the text is the shortest that is read back as the same
 * number, and what is read is the number nearest to the text. Streams are printed and packed by the million numbers, for
 * which libc's conversions are too slow; they do what the short ways here do not reach.
 * Not here: JSON (json.h, stream/json.h). Rounding is to nearest; a calling thread must not flush denormals. */
#ifndef JRL_BASE_DECIMAL_H
#define JRL_BASE_DECIMAL_H

/* The shortest decimal text that reads back as the same double (float), with '.' or 'e' so that it stays a float; NaN and
 * infinities as "NaN", "Infinity", "-Infinity" without quotes. Returns its length. */
int jrl_format_f64(char out[32], double value);
int jrl_format_f32(char out[32], float value);

/* The double (float) nearest to TEXT, a number by JSON's grammar that ends with a NUL; infinite when it is beyond the type. */
double jrl_parse_f64(const char *text);
float jrl_parse_f32(const char *text);

#endif
