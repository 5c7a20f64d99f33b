/* A stand-in for the RedisJSON module: values of the type `ReJSON-RL`, whole documents only.
 *
 * It answers what Annika asks of the real one: JSON.SET key $|. text, JSON.GET key, TYPE, and WRONGTYPE from
 * string commands. It keeps the text and does not check it, and a JSON.SET ends a TTL, which is the stricter
 * case for a caller that wants to keep one. The declarations are those of Redis' public module API (version 1),
 * written out so that no header has to be installed. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Ctx Ctx;
typedef struct Str Str;
typedef struct Key Key;
typedef struct Type Type;
typedef int (*Command)(Ctx *, Str **, int);

/* RedisModuleTypeMethods, version 1. */
typedef struct {
  uint64_t version;
  void *rdb_load, *rdb_save, *aof_rewrite, *mem_usage, *digest;
  void (*free)(void *);
} Methods;

static int (*GetApi)(const char *, void *);
static void (*SetModuleAttribs)(Ctx *, const char *, int, int);
static int (*CreateCommand)(Ctx *, const char *, Command, const char *, int, int, int);
static Type *(*CreateDataType)(Ctx *, const char *, int, void *);
static Key *(*OpenKey)(Ctx *, Str *, int);
static void (*CloseKey)(Key *);
static int (*KeyType)(Key *);
static Type *(*ModuleTypeGetType)(Key *);
static void *(*ModuleTypeGetValue)(Key *);
static int (*ModuleTypeSetValue)(Key *, Type *, void *);
static void *(*Alloc)(size_t);
static void (*Free)(void *);
static const char *(*StringPtrLen)(const Str *, size_t *);
static int (*ReplyWithStringBuffer)(Ctx *, const char *, size_t);
static int (*ReplyWithSimpleString)(Ctx *, const char *);
static int (*ReplyWithError)(Ctx *, const char *);
static int (*ReplyWithNull)(Ctx *);
static int (*WrongArity)(Ctx *);
static int (*ReplicateVerbatim)(Ctx *);

static Type *json_type;
static const char *WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";

/* 1: our type; 0: no such key; -1: another type. */
static int kind(Key *key) {
  if (key == NULL || KeyType(key) == 0) return 0;
  return ModuleTypeGetType(key) == json_type ? 1 : -1;
}

static int json_get(Ctx *ctx, Str **argv, int argc) {
  if (argc < 2) return WrongArity(ctx);
  Key *key = OpenKey(ctx, argv[1], 1 /* read */);
  int is = kind(key), reply;
  if (is == 1) {
    const char *text = ModuleTypeGetValue(key);
    reply = ReplyWithStringBuffer(ctx, text, strlen(text));
  } else {
    reply = is == 0 ? ReplyWithNull(ctx) : ReplyWithError(ctx, WRONGTYPE);
  }
  if (key != NULL) CloseKey(key);
  return reply;
}

static int json_set(Ctx *ctx, Str **argv, int argc) {
  if (argc != 4) return WrongArity(ctx);
  size_t length;
  const char *path = StringPtrLen(argv[2], &length);
  if (length != 1 || (path[0] != '$' && path[0] != '.')) return ReplyWithError(ctx, "ERR only whole documents");
  Key *key = OpenKey(ctx, argv[1], 1 | 2 /* read and write */);
  if (kind(key) == -1) {
    CloseKey(key);
    return ReplyWithError(ctx, WRONGTYPE);
  }
  const char *text = StringPtrLen(argv[3], &length);
  char *copy = Alloc(length + 1);
  memcpy(copy, text, length);
  copy[length] = 0;
  ModuleTypeSetValue(key, json_type, copy);
  CloseKey(key);
  ReplicateVerbatim(ctx);
  return ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(Ctx *ctx, Str **argv, int argc) {
  (void)argv;
  (void)argc;
  GetApi = (int (*)(const char *, void *))((void **)ctx)[0];
#define TAKE(name) if (GetApi("RedisModule_" #name, (void *)&name) != 0) return 1
  TAKE(SetModuleAttribs);
  TAKE(CreateCommand);
  TAKE(CreateDataType);
  TAKE(OpenKey);
  TAKE(CloseKey);
  TAKE(KeyType);
  TAKE(ModuleTypeGetType);
  TAKE(ModuleTypeGetValue);
  TAKE(ModuleTypeSetValue);
  TAKE(Alloc);
  TAKE(Free);
  TAKE(StringPtrLen);
  TAKE(ReplyWithStringBuffer);
  TAKE(ReplyWithSimpleString);
  TAKE(ReplyWithError);
  TAKE(ReplyWithNull);
  TAKE(WrongArity);
  TAKE(ReplicateVerbatim);
  SetModuleAttribs(ctx, "ReJSON", 1, 1);
  static Methods methods;
  methods.version = 1;
  methods.free = Free;
  json_type = CreateDataType(ctx, "ReJSON-RL", 0, &methods);
  if (json_type == NULL) return 1;
  if (CreateCommand(ctx, "JSON.GET", json_get, "readonly", 1, 1, 1) != 0) return 1;
  return CreateCommand(ctx, "JSON.SET", json_set, "write deny-oom", 1, 1, 1);
}
