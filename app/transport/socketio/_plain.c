/* What plain.py has, for those who have a compiler: it says the same in a tenth of the time. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define HEAD 6       /* bytes in front of a short frame's payload: two, and the mask (RFC 6455, 5.2) */
#define LONGEST 125  /* bytes of payload whose number the second byte can hold */
#define DIGITS 15    /* of an ack id, which is below 2**53 */

/* Return the name and the arguments that `loads` finds in the JSON, a new reference; NULL without
   an error where it finds no event, with one where Python itself is at its end. */
static PyObject *
decode(const char *json, Py_ssize_t size, PyObject *loads, PyObject *reserved)
{
    PyObject *name, *data, *text = PyBytes_FromStringAndSize(json, size);
    int refused = 1;

    if (text == NULL)
        return NULL;
    data = PyObject_CallOneArg(loads, text);
    Py_DECREF(text);
    if (data == NULL) {
        if (PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear();
        return NULL;
    }
    if (PyList_CheckExact(data) && PyList_GET_SIZE(data) > 0) {
        name = PyList_GET_ITEM(data, 0);
        if (PyUnicode_CheckExact(name))
            refused = PySet_Contains(reserved, name);
    }
    if (refused)
        Py_CLEAR(data);
    return data;
}

/* Return (ack id or None, name and arguments), or None: all new references. */
static PyObject *
parse(const unsigned char *read, Py_ssize_t size, Py_ssize_t longest, PyObject *loads, PyObject *reserved)
{
    PyObject *data, *event;
    char payload[LONGEST];
    unsigned char seen = 0;
    long long id = 0;
    Py_ssize_t at, start = 2;

    size -= HEAD;
    if (size < 3 || size > LONGEST || size > longest || read[0] != 0x81 || read[1] != (0x80 | size))
        Py_RETURN_NONE;
    for (at = 0; at < size; at++) {
        unsigned char byte = read[HEAD + at] ^ read[2 + (at & 3)];
        payload[at] = (char)byte;
        seen |= byte;
    }
    if (seen > 0x7f || payload[0] != '4' || payload[1] != '2')
        Py_RETURN_NONE;
    while (start < size && payload[start] >= '0' && payload[start] <= '9') {
        if (start == 2 + DIGITS)
            Py_RETURN_NONE;
        id = id * 10 + (payload[start++] - '0');
    }
    if (start == size || payload[start] != '[')
        Py_RETURN_NONE;
    data = decode(payload + start, size - start, loads, reserved);
    if (data == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    event = start == 2 ? Py_BuildValue("ON", Py_None, data) : Py_BuildValue("LN", id, data);
    return event;
}

static PyObject *
plain_event(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer buffer;
    Py_ssize_t size, longest;
    PyObject *event = NULL;

    (void)module;
    if (nargs != 5 || !PyAnySet_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "plain_event takes a buffer, two sizes, a decoder, a set");
        return NULL;
    }
    size = PyLong_AsSsize_t(args[1]);
    longest = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    if (size > buffer.len)
        PyErr_SetString(PyExc_ValueError, "there is less in the buffer");
    else
        event = parse(buffer.buf, size, longest, args[3], args[4]);
    PyBuffer_Release(&buffer);
    return event;
}

static PyObject *
text_frame(PyObject *module, PyObject *payload)
{
    Py_ssize_t size;
    PyObject *frame;
    char *head;

    (void)module;
    if (!PyBytes_CheckExact(payload)) {
        PyErr_SetString(PyExc_TypeError, "text_frame takes bytes");
        return NULL;
    }
    size = PyBytes_GET_SIZE(payload);
    if (size > LONGEST)
        Py_RETURN_NONE;
    frame = PyBytes_FromStringAndSize(NULL, size + 2);
    if (frame == NULL)
        return NULL;
    head = PyBytes_AS_STRING(frame);
    head[0] = (char)0x81;
    head[1] = (char)size;
    memcpy(head + 2, PyBytes_AS_STRING(payload), (size_t)size);
    return frame;
}

static PyObject *
ack_text(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    char digits[20]; /* as many as a long long may have */
    char *at = digits + sizeof(digits), *to;
    PyObject *packet;
    long long id;
    Py_ssize_t count, size;

    (void)module;
    if (nargs != 2 || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "ack_text takes an int and bytes");
        return NULL;
    }
    id = PyLong_AsLongLong(args[0]);
    if (id < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no id is negative");
        return NULL;
    }
    do {
        *--at = (char)('0' + id % 10);
        id /= 10;
    } while (id > 0);
    count = digits + sizeof(digits) - at;
    size = PyBytes_GET_SIZE(args[1]);
    packet = PyBytes_FromStringAndSize(NULL, 2 + count + size);
    if (packet == NULL)
        return NULL;
    to = PyBytes_AS_STRING(packet);
    memcpy(to, "43", 2);
    memcpy(to + 2, at, (size_t)count);
    memcpy(to + 2 + count, PyBytes_AS_STRING(args[1]), (size_t)size);
    return packet;
}

static PyMethodDef methods[] = {
    {"ack_text", (PyCFunction)(void (*)(void))ack_text, METH_FASTCALL, NULL},
    {"plain_event", (PyCFunction)(void (*)(void))plain_event, METH_FASTCALL, NULL},
    {"text_frame", text_frame, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_plain",
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__plain(void)
{
    return PyModuleDef_Init(&definition);
}
