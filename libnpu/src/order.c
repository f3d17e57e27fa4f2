// SPDX-License-Identifier: MIT
/* The order in which operations are issued. */
#include "graph.h"

int graph_order(struct npu_graph *g)
{
	return g->status;
}
