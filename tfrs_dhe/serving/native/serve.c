/* Serves a SavedModel through TensorFlow's C API: no Python, nothing of TF Serving.

   Build, where TF is the folder of the installed wheel (the one that holds
   libtensorflow_cc.so.2), and run:

     gcc -std=gnu11 -O2 serve.c -o serve -I$TF/include -L$TF \
       -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 \
       -Wl,-rpath,$TF -Wl,--allow-shlib-undefined
     ./serve models/retrieval/1 < requests > answers

   It loads the graph with the tag "serve" as TF Serving does, and answers requests
   from its input, one after the other, until the input ends. A request that is wrong
   gets an error for an answer, and the next one is read.

   Requests and answers are frames: a uint64 with the number of bytes that follow.
   Numbers are in the byte order of the machine, without padding.

     request   uint32 repeats, uint32 warm_up,
               uint32 count, then for each input a name and a tensor,
               uint32 count, then for each output a name
     answer    uint32 code, text message; if the code is 0 (OK):
               repeats = 0:  uint32 count, then for each output a tensor
               otherwise:    int64 p50, int64 min, the nanoseconds of a run
     text      uint32 size, bytes
     name      text, of the graph's tensor, such as "serving_default_user_id:0"
     tensor    uint32 type (that of TF_DataType), uint32 rank, int64 dimensions,
               uint64 size, bytes; of strings: for each a uint64 size and bytes

   Before any request there is an answer that says whether the export was loaded,
   with neither tensors nor times. A time is that of TF_SessionRun alone. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tensorflow/c/c_api.h"

enum {
  MAX_TENSORS = 256,
  MAX_RANK = 16,
  MAX_NAME = 1024,
  MAX_RUNS = 1000000,
};
static const uint64_t MAX_FRAME = UINT64_C(1) << 30;

typedef struct {
  TF_Graph *graph;
  TF_Session *session;
} Model;

typedef struct {
  uint32_t repeats, warm_up, num_inputs, num_outputs;
  TF_Output inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  TF_Tensor *fed[MAX_TENSORS], *fetched[MAX_TENSORS];
} Request;

/* Sets an error and returns false. */
__attribute__((format(printf, 2, 3))) static bool refuse(TF_Status *status,
                                                         const char *format, ...) {
  char message[2 * MAX_NAME];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  TF_SetStatus(status, TF_INVALID_ARGUMENT, message);
  return false;
}

static bool is_ok(const TF_Status *status) { return TF_GetCode(status) == TF_OK; }

/* ---- Reading a request ---- */

typedef struct {
  const char *at;
  size_t left;
} Reader;

/* Returns the next bytes, or NULL if there are fewer. */
static const char *take(Reader *in, uint64_t size) {
  if (size > in->left) return NULL;
  const char *taken = in->at;
  in->at += size;
  in->left -= size;
  return taken;
}

static bool take_into(Reader *in, void *value, size_t size) {
  const char *taken = take(in, size);
  if (taken != NULL) memcpy(value, taken, size);
  return taken != NULL;
}

static bool refuse_end(TF_Status *status) {
  return refuse(status, "The request ends too early.");
}

static bool read_name(Reader *in, char name[MAX_NAME], TF_Status *status) {
  uint32_t size;
  if (!take_into(in, &size, sizeof size)) return refuse_end(status);
  if (size >= MAX_NAME)
    return refuse(status, "A name may have %d bytes. Received: %" PRIu32 ".",
                  MAX_NAME - 1, size);
  if (!take_into(in, name, size)) return refuse_end(status);
  name[size] = '\0';
  return true;
}

/* Finds the tensor "operation:index" of the graph. */
static bool find_tensor(const Model *model, const char *name, TF_Output *tensor,
                        TF_Status *status) {
  char operation[MAX_NAME];
  const char *colon = strrchr(name, ':');
  char *end;
  long index = colon == NULL ? -1 : strtol(colon + 1, &end, 10);
  if (colon == NULL || end == colon + 1 || *end != '\0')
    return refuse(status, "Tensors are named \"operation:0\". Received: \"%s\".", name);
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  tensor->oper = TF_GraphOperationByName(model->graph, operation);
  if (tensor->oper == NULL || index < 0 || index >= TF_OperationNumOutputs(tensor->oper))
    return refuse(status, "The graph has no tensor \"%s\".", name);
  tensor->index = (int)index;
  return true;
}

/* The size of a type's elements; 0 if the bytes of a request cannot be its values. */
static size_t element_size(TF_DataType type) {
  switch (type) {
    case TF_BOOL:
    case TF_INT8:
    case TF_UINT8:
    case TF_INT16:
    case TF_UINT16:
    case TF_HALF:
    case TF_BFLOAT16:
    case TF_INT32:
    case TF_UINT32:
    case TF_FLOAT:
    case TF_INT64:
    case TF_UINT64:
    case TF_DOUBLE:
    case TF_COMPLEX64:
    case TF_COMPLEX128:
      return TF_DataTypeSize(type);
    case TF_STRING:
      return sizeof(TF_TString);
    default:
      return 0;
  }
}

/* Compares with the graph's placeholder: a kernel may trust a rank and end the
   process, and TF_SessionRun does not look at shapes. */
static bool check_input(const Model *model, TF_Output tensor, const char *name,
                        uint32_t type, const int64_t *dims, int rank,
                        TF_Status *status) {
  TF_DataType expected_type = TF_OperationOutputType(tensor);
  if (type != (uint32_t)expected_type)
    return refuse(status, "\"%s\" is of type %d. Received: type %" PRIu32 ".", name,
                  expected_type, type);
  int expected_rank = TF_GraphGetTensorNumDims(model->graph, tensor, status);
  if (!is_ok(status)) return false;
  if (expected_rank < 0) return true;
  if (expected_rank != rank)
    return refuse(status, "\"%s\" is of rank %d. Received: rank %d.", name,
                  expected_rank, rank);
  int64_t expected[MAX_RANK];
  TF_GraphGetTensorShape(model->graph, tensor, expected, rank, status);
  if (!is_ok(status)) return false;
  for (int i = 0; i < rank; i++)
    if (expected[i] >= 0 && expected[i] != dims[i])
      return refuse(status,
                    "\"%s\" has %" PRId64 " elements in dimension %d. Received: %" PRId64
                    ".",
                    name, expected[i], i, dims[i]);
  return true;
}

static void free_strings(void *data, size_t size, void *unused) {
  (void)unused;
  TF_TString *strings = data;
  for (size_t i = 0; i < size / sizeof *strings; i++) TF_StringDealloc(&strings[i]);
  free(strings);
}

static TF_Tensor *new_strings(Reader bytes, const int64_t *dims, int rank, size_t count,
                              TF_Status *status) {
  const char *wrong = "The sizes of the strings do not fit the bytes of \"strings\".";
  /* Each string has its size at least, so memory is bounded by what came. */
  if (count > bytes.left / sizeof(uint64_t)) {
    refuse(status, "%s", wrong);
    return NULL;
  }
  size_t size = count * sizeof(TF_TString);
  TF_TString *strings = malloc(size + 1); /* Of no string too. */
  if (strings == NULL) return NULL;
  for (size_t i = 0; i < count; i++) TF_StringInit(&strings[i]);
  bool fits = true;
  for (size_t i = 0; i < count && fits; i++) {
    uint64_t length = 0;
    const char *text = NULL;
    if (take_into(&bytes, &length, sizeof length)) text = take(&bytes, length);
    fits = text != NULL;
    if (fits) TF_StringCopy(&strings[i], text, length);
  }
  if (!fits || bytes.left != 0) {
    refuse(status, "%s", wrong);
    free_strings(strings, size, NULL);
    return NULL;
  }
  /* The graph may keep the tensor, so the strings go when the last one lets go. */
  return TF_NewTensor(TF_STRING, dims, rank, strings, size, free_strings, NULL);
}

static TF_Tensor *new_numbers(TF_DataType type, Reader bytes, const int64_t *dims,
                              int rank, size_t size, TF_Status *status) {
  if (bytes.left != size) {
    refuse(status, "The shape needs %zu bytes. Received: %zu.", size, bytes.left);
    return NULL;
  }
  for (size_t i = 0; type == TF_BOOL && i < size; i++)
    if ((unsigned char)bytes.at[i] > 1) {
      refuse(status, "A bool is 0 or 1.");
      return NULL;
    }
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, size);
  if (tensor != NULL && size > 0) memcpy(TF_TensorData(tensor), bytes.at, size);
  return tensor;
}

static bool read_input(const Model *model, Reader *in, TF_Output *output,
                       TF_Tensor **tensor, TF_Status *status) {
  char name[MAX_NAME];
  uint32_t type, rank;
  int64_t dims[MAX_RANK];
  uint64_t num_bytes;
  if (!read_name(in, name, status)) return false;
  if (!take_into(in, &type, sizeof type) || !take_into(in, &rank, sizeof rank))
    return refuse_end(status);
  if (rank > MAX_RANK)
    return refuse(status, "\"%s\" may have a rank of %d. Received: %" PRIu32 ".", name,
                  MAX_RANK, rank);
  if (!take_into(in, dims, rank * sizeof *dims) ||
      !take_into(in, &num_bytes, sizeof num_bytes))
    return refuse_end(status);
  Reader bytes = {take(in, num_bytes), num_bytes};
  if (bytes.at == NULL) return refuse_end(status);

  if (!find_tensor(model, name, output, status)) return false;
  if (!check_input(model, *output, name, type, dims, (int)rank, status)) return false;
  size_t size = element_size(type);
  if (size == 0) return refuse(status, "\"%s\" is of a type that has no bytes.", name);
  /* Without the empty dimensions too, as TensorFlow ends the process where the
     others overflow. */
  size_t count = 1, bound = size;
  for (uint32_t i = 0; i < rank; i++) {
    if (dims[i] < 0 ||
        (dims[i] > 0 && __builtin_mul_overflow(bound, (size_t)dims[i], &bound)) ||
        bound > INT64_MAX)
      return refuse(status, "\"%s\" has no shape that is possible.", name);
    count *= (size_t)dims[i];
  }
  *tensor = type == TF_STRING
                ? new_strings(bytes, dims, (int)rank, count, status)
                : new_numbers(type, bytes, dims, (int)rank, count * size, status);
  if (*tensor == NULL && is_ok(status))
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "Out of memory.");
  return *tensor != NULL;
}

static bool read_request(const Model *model, Reader *in, Request *request,
                         TF_Status *status) {
  uint32_t count;
  if (!take_into(in, &request->repeats, sizeof request->repeats) ||
      !take_into(in, &request->warm_up, sizeof request->warm_up) ||
      !take_into(in, &count, sizeof count))
    return refuse_end(status);
  if (request->repeats > MAX_RUNS || request->warm_up > MAX_RUNS)
    return refuse(status, "A request may be repeated %d times.", MAX_RUNS);
  if (count > MAX_TENSORS)
    return refuse(status, "There may be %d inputs. Received: %" PRIu32 ".", MAX_TENSORS,
                  count);
  for (uint32_t i = 0; i < count; i++) {
    if (!read_input(model, in, &request->inputs[i], &request->fed[i], status))
      return false;
    request->num_inputs = i + 1;
  }
  if (!take_into(in, &count, sizeof count)) return refuse_end(status);
  if (count > MAX_TENSORS)
    return refuse(status, "There may be %d outputs. Received: %" PRIu32 ".",
                  MAX_TENSORS, count);
  for (uint32_t i = 0; i < count; i++) {
    char name[MAX_NAME];
    if (!read_name(in, name, status)) return false;
    if (!find_tensor(model, name, &request->outputs[i], status)) return false;
  }
  request->num_outputs = count;
  if (in->left != 0)
    return refuse(status, "The request goes on for %zu bytes.", in->left);
  return true;
}

/* ---- Writing an answer ---- */

typedef struct {
  char *bytes;
  size_t size, capacity;
  bool failed; /* Memory ran out. */
} Writer;

static void put(Writer *out, const void *bytes, size_t size) {
  if (out->failed || size == 0) return;
  if (size > out->capacity - out->size) {
    size_t capacity = 2 * (out->size + size);
    char *grown = realloc(out->bytes, capacity);
    if (grown == NULL) {
      out->failed = true;
      return;
    }
    out->bytes = grown;
    out->capacity = capacity;
  }
  memcpy(out->bytes + out->size, bytes, size);
  out->size += size;
}

static void put_uint32(Writer *out, uint32_t value) { put(out, &value, sizeof value); }

static void put_uint64(Writer *out, uint64_t value) { put(out, &value, sizeof value); }

static void put_int64(Writer *out, int64_t value) { put(out, &value, sizeof value); }

static void put_status(Writer *out, const TF_Status *status) {
  const char *message = TF_Message(status);
  put_uint32(out, TF_GetCode(status));
  put_uint32(out, (uint32_t)strlen(message));
  put(out, message, strlen(message));
}

static void put_strings(Writer *out, const TF_TString *strings, size_t count) {
  uint64_t size = 0;
  for (size_t i = 0; i < count; i++)
    size += sizeof(uint64_t) + TF_StringGetSize(&strings[i]);
  put_uint64(out, size);
  for (size_t i = 0; i < count; i++) {
    put_uint64(out, TF_StringGetSize(&strings[i]));
    put(out, TF_StringGetDataPointer(&strings[i]), TF_StringGetSize(&strings[i]));
  }
}

static void put_tensor(Writer *out, const TF_Tensor *tensor) {
  put_uint32(out, TF_TensorType(tensor));
  put_uint32(out, (uint32_t)TF_NumDims(tensor));
  for (int i = 0; i < TF_NumDims(tensor); i++) put_int64(out, TF_Dim(tensor, i));
  if (TF_TensorType(tensor) == TF_STRING) {
    put_strings(out, TF_TensorData(tensor), (size_t)TF_TensorElementCount(tensor));
  } else {
    put_uint64(out, TF_TensorByteSize(tensor));
    put(out, TF_TensorData(tensor), TF_TensorByteSize(tensor));
  }
}

/* Writes what `out` holds as a frame, and empties it. */
static bool send_frame(Writer *out, FILE *stream) {
  uint64_t size = out->size;
  bool sent = !out->failed && fwrite(&size, sizeof size, 1, stream) == 1 &&
              fwrite(out->bytes, 1, out->size, stream) == out->size &&
              fflush(stream) == 0;
  free(out->bytes);
  *out = (Writer){0};
  return sent;
}

/* ---- Answering ---- */

static void delete_tensors(TF_Tensor **tensors, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (tensors[i] != NULL) TF_DeleteTensor(tensors[i]);
    tensors[i] = NULL;
  }
}

static bool run(const Model *model, Request *request, TF_Status *status) {
  TF_SessionRun(model->session, NULL, request->inputs, request->fed,
                (int)request->num_inputs, request->outputs, request->fetched,
                (int)request->num_outputs, NULL, 0, NULL, status);
  return is_ok(status);
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static bool measure(const Model *model, Request *request, Writer *out,
                    TF_Status *status) {
  int64_t *times = calloc(request->repeats, sizeof *times);
  if (times == NULL) {
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "Out of memory.");
    return false;
  }
  uint32_t runs = request->warm_up + request->repeats;
  for (uint32_t i = 0; i < runs && is_ok(status); i++) {
    int64_t start = nanoseconds();
    run(model, request, status);
    int64_t end = nanoseconds();
    if (i >= request->warm_up) times[i - request->warm_up] = end - start;
    delete_tensors(request->fetched, request->num_outputs);
  }
  if (is_ok(status)) {
    qsort(times, request->repeats, sizeof *times, compare);
    put_status(out, status);
    put_int64(out, times[(request->repeats - 1) / 2]);
    put_int64(out, times[0]);
  }
  free(times);
  return is_ok(status);
}

static bool fetch(const Model *model, Request *request, Writer *out,
                  TF_Status *status) {
  if (!run(model, request, status)) return false;
  for (uint32_t i = 0; i < request->num_outputs; i++) {
    TF_DataType type = TF_TensorType(request->fetched[i]);
    if (element_size(type) == 0)
      return refuse(status, "Output %" PRIu32 " is of type %d, which has no bytes.", i,
                    type);
  }
  put_status(out, status);
  put_uint32(out, request->num_outputs);
  for (uint32_t i = 0; i < request->num_outputs; i++)
    put_tensor(out, request->fetched[i]);
  return true;
}

static void answer(const Model *model, Reader in, Writer *out, TF_Status *status) {
  Request request = {0};
  if (read_request(model, &in, &request, status)) {
    if (request.repeats > 0)
      measure(model, &request, out, status);
    else
      fetch(model, &request, out, status);
  }
  if (is_ok(status) && out->failed)
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "Out of memory for the answer.");
  if (!is_ok(status)) {
    free(out->bytes);
    *out = (Writer){0};
    put_status(out, status);
  }
  delete_tensors(request.fed, MAX_TENSORS);
  delete_tensors(request.fetched, MAX_TENSORS);
}

static bool skip(FILE *stream, uint64_t size) {
  char unused[65536];
  while (size > 0) {
    size_t part = size < sizeof unused ? (size_t)size : sizeof unused;
    if (fread(unused, 1, part, stream) != part) return false;
    size -= part;
  }
  return true;
}

/* Answers until the input ends; returns false if it ends within a request. */
static bool serve(const Model *model, FILE *in, FILE *out, TF_Status *status) {
  uint64_t size;
  size_t num_read;
  while ((num_read = fread(&size, 1, sizeof size, in)) == sizeof size) {
    Writer answered = {0};
    TF_SetStatus(status, TF_OK, "");
    char *frame = size <= MAX_FRAME ? malloc(size + 1) : NULL;
    if (frame == NULL) {
      if (!skip(in, size)) return false;
      TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "Out of memory for the request.");
      if (size > MAX_FRAME)
        refuse(status, "A request may have %" PRIu64 " bytes. Received: %" PRIu64 ".",
               MAX_FRAME, size);
      put_status(&answered, status);
    } else {
      if (fread(frame, 1, size, in) != size) {
        free(frame);
        return false;
      }
      answer(model, (Reader){frame, size}, &answered, status);
      free(frame);
    }
    if (!send_frame(&answered, out)) return false;
  }
  return num_read == 0;
}

static bool load(const char *path, Model *model, TF_Status *status) {
  const char *tag = "serve";
  TF_SessionOptions *options = TF_NewSessionOptions();
  model->graph = TF_NewGraph();
  model->session = TF_LoadSessionFromSavedModel(options, NULL, path, &tag, 1,
                                                model->graph, NULL, status);
  TF_DeleteSessionOptions(options);
  return is_ok(status);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s VERSION_DIRECTORY < requests > answers\n", argv[0]);
    return 2;
  }
  /* What TensorFlow or a model prints must not get between the answers. */
  FILE *answers = fdopen(dup(STDOUT_FILENO), "wb");
  if (answers == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    perror("standard output");
    return 1;
  }
  Model model;
  Writer loaded = {0};
  TF_Status *status = TF_NewStatus();
  bool is_served = load(argv[1], &model, status);
  if (!is_served) fprintf(stderr, "%s\n", TF_Message(status));
  put_status(&loaded, status);
  is_served = send_frame(&loaded, answers) && is_served;
  is_served = is_served && serve(&model, stdin, answers, status);
  if (model.session != NULL) TF_DeleteSession(model.session, status);
  TF_DeleteGraph(model.graph);
  TF_DeleteStatus(status);
  fclose(answers);
  return is_served ? 0 : 1;
}
