/* plugin.h - finds and opens libjrl-cuda.so. Inside kernels/ only. */
#ifndef JRL_KERNELS_PLUGIN_H
#define JRL_KERNELS_PLUGIN_H

#include "kernels/device.h"

/* *out: GPU number INDEX with CPU beside it, which then belongs to it. Where it cannot be had: an error, or with AUTOMATIC
 * CPU itself, with a note. The plug-in is libjrl-cuda.so in ../lib/jrl beside the folder of the program. */
int jrl_plugin_open(struct jrl_device **out, struct jrl_device *cpu, int index, bool automatic, struct jrl_error *err) JRL_MUST_CHECK;

#endif
