// A sequence through a whole plan, forward and back: a block of samples goes through all stages, segment by segment.
// README.md in the folder above draws what lies where. ``fields.py`` describes the structures Call and Stage.
//
// Offsets in ``w``, which holds what the forward pass computes, and in ``u``, which holds what the backward pass does,
// are in numbers for each sample. Slot 0 of states is the one before the segment's first step. So is slot D - 1 of
// outputs, of which ``before`` = D go back, at least one; slots before hold those of earlier steps. With taps those of
// each neuron are first added up, to the sum z; without, D is 1.

// A function that is compiled once, not into each of its callers, so that nobody waits long for machine code.
#define APART __attribute__((noinline))

enum { LINEAR, CELL, FEEDBACK };
enum { NO_LOSS, MSE, CROSS_ENTROPY };
// A layer has its inputs packed for the gradient of its weights if it has more inputs and outputs than this.
#ifndef PACKED_FROM
#define PACKED_FROM 128
#endif
#define EACH_STAGE(s, call) for (const Stage *s = (call)->stages; s < (call)->stages + (call)->count; s++)

// A block of samples in a segment of steps: the first and the number of either; a thread's memory.
typedef struct {
    const Call *call;
    Index first, n, t0, steps;
    Compute *w, *u;
    // In u: the gradients before and after a stage, that of the mean over time, and memory to pack inputs in.
    Compute *before, *after, *mean, *packed;
    Compute *gradient;  // of weights and parameters, of all blocks of an item of work
    const Compute *weights;
} Block;

static inline Index least(Index a, Index b) { return a < b ? a : b; }

static void copy(const Compute *from, Compute *to, Index count) { memcpy(to, from, count * sizeof(Compute)); }

APART static void fill(Compute *to, Index count, Compute value) {
    for (Index m = 0; m < count; m++) to[m] = value;
}

APART static void add(const Compute *restrict more, Compute *restrict to, Index count) {
    for (Index m = 0; m < count; m++) to[m] += more[m];
}

// The outputs of a stage from the segment's first step on, and the input of a stage, which is the output of the one
// before.
static inline Compute *outputs_of(const Block *b, const Stage *s) {
    return b->w + (s->y + s->outputs * s->before) * b->n;
}
static inline Compute *input_of(const Block *b, const Stage *s) {
    return s == b->call->stages ? b->w : outputs_of(b, s - 1);
}
static inline const Compute *numbers_of(const Block *b, const Stage *s) {
    return b->call->numbers + (s - b->call->stages) * NUMBERS;
}

// --- Between tensors and a block ------------------------------------------------------------------------------------

// A sequence in memory: what lies between its steps, its samples and its numbers; with an index, which samples.
typedef struct {
    const Compute *at;
    Index by_t, by_n, by_i;
    const Index *index;
} Sequence;

// Copy a block's segment of a sequence, [steps, n, features].
APART static void load(const Block *b, Sequence from, Index features, Compute *to) {
    const Index n = b->n, all = n * features;
    const Compute *at = from.at + b->t0 * from.by_t;
    if (!from.index && (features == 1 || (from.by_i == 1 && from.by_n == features))) {
        const Index by = features == 1 ? from.by_n : 1;
        at += b->first * from.by_n;
        for (Index t = 0; t < b->steps; t++, at += from.by_t, to += all) {
            if (by == 1) copy(at, to, all);
            else for (Index m = 0; m < all; m++) to[m] = at[m * by];
        }
        return;
    }
    for (Index m = 0; m < n; m++, to += features) {  // outside, since the steps of a sample often lie side by side
        const Compute *sample = at + (from.index ? from.index[b->first + m] : b->first + m) * from.by_n;
        for (Index t = 0; t < b->steps; t++, sample += from.by_t) {
            if (from.by_i == 1) copy(sample, to + t * all, features);
            else for (Index i = 0; i < features; i++) to[t * all + i] = sample[i * from.by_i];
        }
    }
}

// Copy a block's segment [steps, n, features] into a sequence [T, N, features].
APART static void store(const Block *b, const Compute *from, Index by, Index features, Compute *to) {
    for (Index t = 0; t < b->steps; t++)
        copy(from + t * by, to + ((b->t0 + t) * b->call->all + b->first) * features, b->n * features);
}

// Load the states of a stage, or their gradients, from tensors, or store them there: [N, J] each, and [D, N, J] of the
// outputs that go back, newest first. ``v`` and ``y`` are where they are in a block.
APART static void move(const Block *b, const Stage *s, Compute *const *tensors, Compute *v, Compute *y, int is_load) {
    const Index J = s->outputs, count = b->n * J, at = b->first * J;
    for (Index k = 0; k < s->states; k++) {
        if (!tensors[k]) continue;
        if (is_load) copy(tensors[k] + at, v + k * count, count);
        else copy(v + k * count, tensors[k] + at, count);
    }
    Compute *const back = tensors[MOST_STATES];
    for (Index d = 0; back && d < s->feedback; d++) {
        Compute *const outside = back + d * b->call->all * J + at, *const here = y + (s->feedback - 1 - d) * count;
        if (is_load) copy(outside, here, count);
        else copy(here, outside, count);
    }
}

// Load the states of all stages at the border before a segment, or store them: [state, N, J], of outputs newest first.
static void move_border(const Block *b, int is_load) {
    const Call *call = b->call;
    Compute *const border = call->borders + (b->t0 / call->segment - 1) * call->state_size * call->all;
    EACH_STAGE(s, call) {
        Compute *states[MOST_STATES + 1], *const at = border + s->state * call->all;
        for (Index k = 0; k < s->states; k++) states[k] = at + k * call->all * s->outputs;
        states[MOST_STATES] = at + s->states * call->all * s->outputs;
        move(b, s, states, b->w + s->v * b->n, b->w + s->y * b->n, is_load);
    }
}

// Load the parameters and the states before the first step.
APART static void begin(const Block *b) {
    EACH_STAGE(s, b->call) {
        const Index J = s->outputs, n = b->n, count = n * J;
        for (Index k = 0; k < s->parameters; k++) {
            Compute *const to = b->w + s->p * n + k * count;
            const Compute *const p = s->parameter[k];
            const Index size = s->size[k];
            if (size == 1) fill(to, count, p[0]);
            else if (size == J) for (Index m = 0; m < n; m++) copy(p, to + m * J, J);
            else for (Index m = 0; m < count; m++) to[m] = p[(b->first * J + m) % size];
        }
        for (Index k = 0; k < s->states; k++) fill(b->w + s->v * n + k * count, count, numbers_of(b, s)[2 + k]);
        fill(b->w + s->y * n, s->feedback * count, 0);
        move(b, s, (Compute *const *)s->first, b->w + s->v * n, b->w + s->y * n, 1);
    }
}

// Make the states after a segment of so many steps those before the next.
static void carry(const Block *b, Index steps) {
    EACH_STAGE(s, b->call) {
        const Index count = b->n * s->outputs;
        Compute *const v = b->w + s->v * b->n, *const y = b->w + s->y * b->n;
        copy(v + steps * s->states * count, v, s->states * count);
        for (Index d = 0; d < s->feedback; d++) copy(y + (steps + d) * count, y + d * count, count);
    }
}

// Store what is returned of each step: states after it, and outputs, [T, N, J].
static void store_steps(const Block *b) {
    EACH_STAGE(s, b->call) {
        const Index count = b->n * s->outputs, S = s->states;
        for (Index k = 0; k < S; k++)
            if (s->seq[k]) store(b, b->w + s->v * b->n + (S + k) * count, S * count, s->outputs, s->seq[k]);
        if (s->seq[MOST_STATES]) store(b, outputs_of(b, s), count, s->outputs, s->seq[MOST_STATES]);
    }
}

// --- Forward: each kind of stage --------------------------------------------------------------------------------------

// Write w[J, I] x[t] + bias for all steps.
static void sum_inputs(const Block *b, const Stage *s, Compute *sums) {
    const Index I = s->inputs, J = s->outputs;
    product(&(Product){
        .rows = b->steps * b->n, .terms = I, .columns = J,
        .a = input_of(b, s), .a_row = I, .a_column = 1, .group = ROWS * I,
        .b = b->weights + s->to_y, .b_row = WIDTH, .strip = I * WIDTH,
        .first = b->weights + s->packed_bias, .first_row = 0, .out = sums, .out_row = J,
    });
}

APART static void step(const Block *b, const Stage *s, Index t, const Compute *i) {
    const Index count = b->n * s->outputs;
    Compute *const v = b->w + s->v * b->n + t * s->states * count;
    s->forward(count, count, numbers_of(b, s), b->w + s->p * b->n, i, v, v + s->states * count, outputs_of(b, s) + t * count);
}

// Write the sum of each neuron's outputs y[t-1], y[t-2], ... times its taps [D, J]; y[t-1] begins at y.
APART static void delay(const Block *b, const Stage *s, const Compute *y, Compute *restrict z) {
    const Index J = s->outputs, count = b->n * J;
    fill(z, count, 0);
    for (Index m = 0; m < count; m += J)
        for (Index d = 0; d < s->feedback; d++)
            for (Index j = 0; j < J; j++) z[m + j] += s->tap[d * J + j] * y[m - d * count + j];
}

// What goes back at a step: the outputs before it, or with taps their sum.
static const Compute *fed_back(const Block *b, const Stage *s, Index t) {
    const Index count = b->n * s->outputs;
    return s->tap ? b->w + s->z * b->n + t * count : outputs_of(b, s) + (t - 1) * count;
}

static void forward(const Block *b) {
    EACH_STAGE(s, b->call) {
        const Index J = s->outputs, count = b->n * J;
        const Compute *const x = input_of(b, s);
        if (s->kind == LINEAR) sum_inputs(b, s, outputs_of(b, s));
        if (s->kind == CELL)
            for (Index t = 0; t < b->steps; t++) step(b, s, t, x + t * count);
        if (s->kind != FEEDBACK) continue;
        Compute *i = b->w + s->current * b->n;
        sum_inputs(b, s, i);
        for (Index t = 0; t < b->steps; t++, i += count) {
            if (s->tap) delay(b, s, outputs_of(b, s) + (t - 1) * count, b->w + s->z * b->n + t * count);
            product(&(Product){
                .rows = b->n, .terms = J, .columns = J,
                .a = fed_back(b, s, t), .a_row = J, .a_column = 1, .group = ROWS * J,
                .b = b->weights + s->of_y, .b_row = WIDTH, .strip = J * WIDTH,
                .first = i, .first_row = J, .out = i, .out_row = J,
            });
            step(b, s, t, i);
        }
    }
}

// --- Backward ---------------------------------------------------------------------------------------------------------

// Add the product of gradients g [rows, J] and inputs x [rows, I] to the gradient [J, I] of a weight.
APART static void add_weight_gradient(const Block *b, const Compute *g, Index J, const Compute *x, Index I, Compute *to, Index by) {
    const Index rows = b->steps * b->n;
    Product p = {
        .rows = J, .terms = rows, .columns = I,
        .a = g, .a_row = 1, .a_column = J, .group = ROWS,
        .b = x, .b_row = I, .strip = WIDTH,
        .first = to, .first_row = by, .out = to, .out_row = by,
    };
    if (I <= PACKED_FROM || J <= PACKED_FROM) {
        product(&p);
        return;
    }
    // Those of a large layer are packed: the gradients at once, the inputs strip by strip.
    Compute *const gradients = b->packed + rows * WIDTH;
    pack(g, J, 1, rows, J, ROWS, gradients);
    p.a = gradients, p.a_column = ROWS, p.group = rows * ROWS;
    p.b = b->packed, p.b_row = WIDTH;
    for (Index i = 0; i < I; i += WIDTH) {
        p.columns = least(WIDTH, I - i);
        pack(x + i, I, 1, rows, p.columns, WIDTH, b->packed);
        p.first = p.out = to + i;
        product(&p);
    }
}

// Take the gradient at a cell's output back to its input, and to its states and parameters.
APART static void step_back(const Block *b, const Stage *s, Index t, const Compute *i, Compute *g_y, Compute *g_i) {
    const Index count = b->n * s->outputs, at = ((b->t0 + t) * b->call->all + b->first) * s->outputs;
    Compute *const g_v = b->u + s->gv * b->n;
    for (Index k = 0; k < s->states; k++)
        if (s->g_seq[k]) add(s->g_seq[k] + at, g_v + k * count, count);
    if (s->g_seq[MOST_STATES]) add(s->g_seq[MOST_STATES] + at, g_y, count);
    s->backward(
        count, count, numbers_of(b, s), b->w + s->p * b->n, i, b->w + s->v * b->n + t * s->states * count,
        g_y, g_v, g_i, b->u + s->gp * b->n);
}

// Take the gradient of the sum of earlier outputs to these, of which the earliest has none yet, and to the taps.
APART static void delay_back(const Block *b, const Stage *s, const Compute *y, const Compute *restrict g_z, Compute *g_y, Compute *g_tap) {
    const Index J = s->outputs, D = s->feedback, count = b->n * J;
    fill(g_y - (D - 1) * count, count, 0);
    for (Index m = 0; m < count; m += J)
        for (Index d = 0; d < D; d++) {
            const Compute *const outputs = y + m - d * count, *const tap = s->tap + d * J;
            Compute *const to = g_y + m - d * count, *const sums = g_tap + d * J;
            for (Index j = 0; j < J; j++) {
                sums[j] += g_z[m + j] * outputs[j];
                to[j] += g_z[m + j] * tap[j];
            }
        }
}

// Take the gradients g of a dense stage's sums to its weights, and, if ``to`` is given, to its input. ``columns`` is
// the length of a row of the weight.
APART static void sums_back(const Block *b, const Stage *s, const Compute *g, Index columns, Compute *to) {
    static const Compute one = 1;
    const Index I = s->inputs, J = s->outputs, rows = b->steps * b->n;
    Compute *const g_weight = b->gradient + s->gradient, *const g_bias = g_weight + J * columns;
    add_weight_gradient(b, g, J, input_of(b, s), I, g_weight, columns);
    product(&(Product){
        .rows = 1, .terms = rows, .columns = J, .a = &one, .b = g, .b_row = J, .strip = WIDTH, .first = g_bias, .out = g_bias,
    });
    if (!to) return;
    product(&(Product){
        .rows = rows, .terms = J, .columns = I,
        .a = g, .a_row = J, .a_column = 1, .group = ROWS * J,
        .b = b->weights + s->from_y, .b_row = WIDTH, .strip = J * WIDTH, .out = to, .out_row = I,
    });
}

static void cell_back(const Block *b, const Stage *s) {
    const Index count = b->n * s->outputs;
    for (Index t = b->steps - 1; t >= 0; t--)
        step_back(b, s, t, input_of(b, s) + t * count, b->before + t * count, b->after + t * count);
}

static void feedback_back(const Block *b, const Stage *s) {
    const Index J = s->outputs, D = s->feedback, count = b->n * J;
    Compute *const g_weight = b->gradient + s->gradient, *const g_tap = g_weight + J * 2 * J + J;
    for (Index t = b->steps - 1; t >= 0; t--) {
        Compute *const g_y = b->u + s->gy * b->n + (D + t) * count, *const g_i = b->after + t * count;
        add(g_y, b->before + t * count, count);
        step_back(b, s, t, b->w + s->current * b->n + t * count, b->before + t * count, g_i);
        Compute *const to = s->tap ? b->u + s->gz * b->n : g_y - count;
        product(&(Product){
            .rows = b->n, .terms = J, .columns = J,
            .a = g_i, .a_row = J, .a_column = 1, .group = ROWS * J,
            .b = b->weights + s->from_of_y, .b_row = WIDTH, .strip = J * WIDTH, .out = to, .out_row = J,
        });
        if (s->tap) delay_back(b, s, outputs_of(b, s) + (t - 1) * count, to, g_y - count, g_tap);
    }
    add_weight_gradient(b, b->after, J, fed_back(b, s, 0), J, g_weight + J, 2 * J);
}

// Take the gradient of a block's outputs, at ``before``, back through all stages; leave that of its input there.
static void backward(Block *b) {
    const Call *const call = b->call;
    for (const Stage *s = call->stages + call->count - 1; s >= call->stages; s--) {
        const int is_last = s == call->stages && !call->g_x;
        if (s->kind == CELL) cell_back(b, s);
        if (s->kind == LINEAR) sums_back(b, s, b->before, s->inputs, is_last ? 0 : b->after);
        if (s->kind == FEEDBACK) {
            feedback_back(b, s);
            sums_back(b, s, b->after, 2 * s->outputs, is_last ? 0 : b->before);
            continue;
        }
        Compute *const swap = b->before;
        b->before = b->after, b->after = swap;
    }
}

// Load the gradients of the states after the last step, and clear those of parameters.
static void begin_back(const Block *b) {
    EACH_STAGE(s, b->call) {
        const Index n = b->n, count = n * s->outputs;
        fill(b->u + s->gp * n, s->parameters * count, 0);
        fill(b->u + s->gv * n, s->states * count, 0);
        fill(b->u + s->gy * n, s->feedback * count, 0);
        move(b, s, (Compute *const *)s->g_last, b->u + s->gv * n, b->u + s->gy * n, 1);
    }
}

// Make the gradients of the outputs before a segment those at the end of the one before, which has so many steps.
static void carry_back(const Block *b) {
    EACH_STAGE(s, b->call) {
        Compute *const g_y = b->u + s->gy * b->n;
        const Index count = b->n * s->outputs;
        for (Index d = s->feedback - 1; d >= 0; d--) copy(g_y + d * count, g_y + (b->steps + d) * count, count);
    }
}

// Store the gradients of the states before the first step, and add those of parameters.
static void end_back(const Block *b) {
    EACH_STAGE(s, b->call) {
        move(b, s, s->g_first, b->u + s->gv * b->n, b->u + s->gy * b->n, 0);
        const Index J = s->outputs, count = b->n * J;
        Compute *to = b->gradient + s->gradient;
        if (s->kind == FEEDBACK) to += (2 * J + 1) * J + (s->tap ? s->feedback * J : 0);
        for (Index k = 0; k < s->parameters; to += s->size[k++])
            for (Index m = 0; m < count; m++) to[(b->first * J + m) % s->size[k]] += b->u[s->gp * b->n + k * count + m];
    }
}

// --- Blocks and segments ----------------------------------------------------------------------------------------------

// Write the weights of every stage in strips, for the forward and for the backward pass, and its bias.
static void pack_weights(const Call *call) {
    EACH_STAGE(s, call) {
        if (s->kind == CELL) continue;
        const Index I = s->inputs, J = s->outputs, columns = s->kind == FEEDBACK ? 2 * J : I;
        pack(s->weight, 1, columns, I, J, WIDTH, call->packed + s->to_y);
        pack(s->weight, columns, 1, J, I, WIDTH, call->packed + s->from_y);
        if (s->kind == FEEDBACK) {
            pack(s->weight + J, 1, columns, J, J, WIDTH, call->packed + s->of_y);
            pack(s->weight + J, columns, 1, J, J, WIDTH, call->packed + s->from_of_y);
        }
        for (Index j = 0; j < J; j++) call->packed[s->packed_bias + j] = s->bias ? s->bias[j] : 0;
    }
}

// The memory of a block and a segment that is kept for the backward pass, or ``w`` itself.
static Compute *kept(const Call *call, Index block, Index t0, Compute *w) {
    return call->kept ? call->kept[block] + t0 / call->segment * call->scratch_size * call->block : w;
}

static Block block_of(const Call *call, Index number, Compute *w, Compute *u) {
    Block b = {.call = call, .first = number * call->block, .w = w, .u = u, .weights = call->packed};
    b.n = least(call->block, call->all - b.first);
    return b;
}

static Sequence input_sequence(const Call *call) {
    return (Sequence){call->x, call->x_t, call->x_n, call->x_i, call->index};
}

// Take a block through the segment at t0, from the states after the segment before, which are noted.
static void forward_segment(Block *b, Index t0, Compute *w) {
    const Call *const call = b->call;
    b->t0 = t0, b->steps = least(call->segment, call->steps - t0);
    if (t0) {
        carry(b, call->segment);
        move_border(b, 0);
        if (w != b->w) {
            b->w = w;
            begin(b);
            move_border(b, 1);
        }
    }
    load(b, input_sequence(call), call->stages[0].inputs, b->w);
    forward(b);
}

static void forward_pass(const Call *call, Index block, Compute *w) {
    const Stage *const last = call->stages + call->count - 1;
    Block b = block_of(call, block, kept(call, block, 0, w), 0);
    begin(&b);
    for (Index t0 = 0; t0 < call->steps; t0 += call->segment) {
        forward_segment(&b, t0, kept(call, block, t0, w));
        store(&b, outputs_of(&b, last), b.n * last->outputs, last->outputs, call->y_seq);
        store_steps(&b);
    }
    EACH_STAGE(s, call) {
        const Index count = b.n * s->outputs;
        move(&b, s, s->last, b.w + s->v * b.n + b.steps * s->states * count, b.w + s->y * b.n + b.steps * count, 0);
    }
}

// Turn the sum of outputs over time into their mean, and write the gradient of the mean loss over all samples to each
// of the outputs; add the sum of the losses, and how many samples are right.
APART static void loss(const Block *b, Index J, Compute *mean, double *lost, double *right) {
    const Call *const call = b->call;
    const Compute N = call->all, T = call->steps;
    Compute *g = b->mean;
    for (Index m = 0; m < b->n * J; m++) mean[m] = mean[m] / T;
    for (Index m = 0; m < b->n; m++, mean += J, g += J) {
        const Index target = call->labels[call->index ? call->index[b->first + m] : b->first + m];
        Index best = 0;
        Compute sum = 0;
        for (Index j = 0; j < J; j++) best = mean[j] > mean[best] ? j : best;
        *right += best == target;
        if (call->loss == CROSS_ENTROPY) {
            for (Index j = 0; j < J; j++) sum += g[j] = MATH(exp)(mean[j] - mean[best]);
            *lost += MATH(log)(sum) + mean[best] - mean[target];
        }
        for (Index j = 0; j < J; j++) {
            const Compute goal = j == target;
            if (call->loss == MSE) {
                const Compute error = mean[j] - goal;
                *lost += error * error / (double)J;
                g[j] = (error + error) / (Compute)(call->all * J) / T;
            } else g[j] = (g[j] / sum - goal) / N / T;
        }
    }
}

// Take a block forward through all segments, with the states before each noted, to its loss; the last stays in w.
static void read_out(Block *b, double *lost, double *right) {
    const Call *const call = b->call;
    const Stage *const last = call->stages + call->count - 1;
    const Index count = b->n * last->outputs;
    Compute *const sum = call->out + b->first * last->outputs;
    fill(sum, count, 0);
    for (Index t0 = 0; t0 < call->steps; t0 += call->segment) {
        forward_segment(b, t0, b->w);
        for (Index t = 0; t < b->steps; t++) add(outputs_of(b, last) + t * count, sum, count);
    }
    loss(b, last->outputs, sum, lost, right);
}

// Take a block back, forward again before unless that was kept. With a loss the gradient of the outputs is computed
// here, from their mean over time.
static void backward_pass(const Call *call, Index block, Compute *w, Compute *u, Compute *gradient, double *lost, double *right) {
    Block b = block_of(call, block, w, u);
    const Index J = call->stages[call->count - 1].outputs, features = call->stages[0].inputs;
    const Index L = call->segment, last = (call->steps - 1) / L * L;
    Compute *const one = u + call->sides * b.n, *const other = one + L * call->widest * b.n;
    b.gradient = gradient;
    b.mean = one - call->widest * b.n;
    b.packed = b.mean - call->packed_work * b.n;
    if (!call->kept) begin(&b);
    begin_back(&b);
    if (call->loss != NO_LOSS) read_out(&b, lost, right);
    for (Index t0 = last; t0 >= 0; t0 -= L) {
        b.t0 = t0, b.steps = least(L, call->steps - t0);
        b.w = kept(call, block, t0, w);
        if (t0 < last || call->loss == NO_LOSS) {
            // The forward pass has put the states at its end where those before the segment were.
            if (t0) move_border(&b, 1);
            else if (last) begin(&b);
            if (!call->kept) {
                load(&b, input_sequence(call), features, b.w);
                forward(&b);
            }
        }
        carry_back(&b);
        b.before = one, b.after = other;
        if (call->loss != NO_LOSS)
            for (Index t = 0; t < b.steps; t++) copy(b.mean, one + t * b.n * J, b.n * J);
        else if (!call->g_y) fill(one, b.steps * b.n * J, 0);
        else load(&b, (Sequence){call->g_y, call->g_t, call->g_n, call->g_i, 0}, J, one);
        backward(&b);
        if (call->g_x) store(&b, b.before, b.n * features, features, call->g_x);
    }
    end_back(&b);
}
