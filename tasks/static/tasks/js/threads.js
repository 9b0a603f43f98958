// The script of the list of threads.

import "./filters.js";
import "./list_cursor.js";
import "./live_list.js";
import "./selection.js";
